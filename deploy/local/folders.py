"""Where what set-up and runs make is kept: the tools in the checkout's `.jingyi/`, data there or in JINGYI_STATE."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".jingyi"


def state() -> Path:
    return Path(os.environ.get("JINGYI_STATE") or HOME).expanduser().resolve()


def tools() -> Path:
    """Beside the .venv that they belong to: data may move later, and needs them all the same."""
    return HOME / "tools"


def run() -> Path:
    return state() / "run"
