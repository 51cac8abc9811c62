"""The tally as a process of its own; some amounts end it, each in its own way."""

import os
import signal

from shared.kernel.errors import Unavailable
from shared.kernel.log import relay
from shared.kernel.process.program import run_service
from shared.kernel.process.service import Kit, Service
from tests.kernel.tally.service import Given
from tests.kernel.tally.service import build as tally

RAISES, KILLS, WAITS = 661, 663, 664


def hear(given: Given) -> None:
    """Learn the amounts that are bad for us the hard way."""
    match given.amount:
        case 661:
            raise RuntimeError("a bug")
        case 663:
            os.kill(os.getpid(), signal.SIGKILL)
        case 664:
            raise Unavailable("Something is away.")


def build(kit: Kit) -> Service:
    """The tally that hears the hard way."""
    return tally(kit, hear)


if __name__ == "__main__":
    relay.DELETE_EVERY = float(os.environ.get("TALLY_DELETE_EVERY", relay.DELETE_EVERY))
    build.__module__ = "tests.kernel.tally.__main__"
    run_service(build)
