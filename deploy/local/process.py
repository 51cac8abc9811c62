"""One real process: in its own group, with its log, on a leash, stopped by its process id."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.local.folders import ROOT
from deploy.local.trouble import Trouble

GRACE = 10.0
POLL = 0.05
Ready = Callable[[], Awaitable[bool]]


@dataclass
class Process:
    """A started program; `returncode` stays None while it lives."""

    name: str
    log: Path
    child: asyncio.subprocess.Process

    @classmethod
    async def start(
        cls, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> "Process":
        log.parent.mkdir(parents=True, exist_ok=True)
        leash = (sys.executable, "-I", "-S", str(Path(__file__).with_name("leash.py")), str(os.getpid()))
        with log.open("ab") as sink:
            child = await asyncio.create_subprocess_exec(
                *leash,
                *argv,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        return cls(name, log, child)

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def returncode(self) -> int | None:
        return self.child.returncode

    async def wait(self) -> int:
        return await self.child.wait()

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group, which carries the process's own id."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def stop(self, grace: float = GRACE) -> None:
        """Ask, and after `grace` seconds insist. Nobody is left behind, whoever cancels this."""
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self.child.wait()), grace)
        except TimeoutError:
            pass
        finally:
            self.signal(signal.SIGKILL)
        await self.child.wait()

    async def until_ready(self, ready: Ready, within: float) -> None:
        """Return once it answers; a sentence if it ends or stays silent instead."""
        try:
            async with asyncio.timeout(within):
                while not await ready():
                    if self.returncode is not None:
                        raise Trouble(f"{self.name} ended at once ({ending(self.returncode)}): {self.last_words()}")
                    await asyncio.sleep(POLL)
        except TimeoutError as silence:
            raise Trouble(f"{self.name} did not answer within {within:.0f} s: {self.last_words()}") from silence

    def last_words(self, lines: int = 3) -> str:
        said = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        telling = [line.strip() for line in said if line.strip()]
        words = " / ".join(telling[-lines:])[-600:] or "it printed nothing"
        return f"{words} (log: {self.log})"


def ending(returncode: int) -> str:
    return f"signal {signal.Signals(-returncode).name}" if returncode < 0 else f"exit code {returncode}"
