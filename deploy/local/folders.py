"""Where everything that set-up and runs make is kept: one ignored folder, `.jingyi/` or JINGYI_STATE."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def state() -> Path:
    return Path(os.environ.get("JINGYI_STATE") or ROOT / ".jingyi").expanduser().resolve()


def tools() -> Path:
    return state() / "tools"


def run() -> Path:
    return state() / "run"
