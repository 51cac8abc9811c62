"""The note a running system leaves in its state folder, so that other commands find it and a second one stays away."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.local.trouble import Trouble, explain

if TYPE_CHECKING:
    from deploy.local.supervisor import Standing


class AlreadyRunning(Trouble):
    """With what the running one wrote about itself; empty while it has only just begun."""

    def __init__(self, state: Path, written: dict[str, Any]) -> None:
        super().__init__(f"It already runs in {state}.")
        self.written = written


@contextmanager
def held(state: Path) -> Iterator[None]:
    """`state` is ours alone in here. The kernel lets go of it when this process ends, however it ends."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (state / "lock").open("a")
    except OSError as refusal:
        raise Trouble(explain(refusal, f"opening {state}")) from refusal
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(state, read(state)) from None
        note(state).unlink(missing_ok=True)
        try:
            yield
        finally:
            note(state).unlink(missing_ok=True)


def find(state: Path) -> dict[str, Any] | None:
    """What the system that runs in `state` wrote, or None where none runs."""
    try:
        with held(state):
            return None
    except AlreadyRunning as running:
        return running.written


def write(state: Path, urls: Mapping[str, str], standings: Mapping[str, "Standing"]) -> None:
    programs = {
        name: {"pid": s.pid, "port": getattr(s.item, "port", None), "state": s.state, "restarts": s.restarts}
        for name, s in standings.items()
    }
    fresh = note(state).with_suffix(".partial")
    fresh.write_text(json.dumps({"urls": dict(urls), "programs": programs}, indent=1))
    fresh.replace(note(state))


def read(state: Path) -> dict[str, Any]:
    try:
        written: dict[str, Any] = json.loads(note(state).read_text())
    except (OSError, ValueError):
        return {}
    return written


def note(state: Path) -> Path:
    return state / "run.json"
