"""What `jingyi run` does, with the platform and one tiny program alone: `platform_only.py STATE`."""

import asyncio
import sys
from pathlib import Path

from deploy.cli.run import stay
from deploy.local.ports import Ports
from deploy.local.supervisor import Program, answers_ready
from deploy.local.system import Items, Plan

TINY = str(Path(__file__).with_name("tiny.py"))


def items(plan: Plan) -> Items:
    port = plan.ports.hotline_intake
    argv = (sys.executable, TINY, str(port))
    return (*plan.platform(), Program("hotline_intake", argv, answers_ready(port), ("topics", "valkey"), port=port))


if __name__ == "__main__":
    asyncio.run(stay(Path(sys.argv[1]), Ports.free(), items))
