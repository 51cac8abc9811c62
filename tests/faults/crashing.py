"""Runs a service that dies, or freezes, at a named step: `python -m tests.faults.crashing SERVICE`.

The product has no hooks for this: each step is a method of it, wrapped here before the service starts. What to do is
told in the folder JINGYI_TOLD, read at the start and on SIGUSR1: `SERVICE.bomb` (JSON: step, nth, signal) is taken away
as it is read, so that the service that is started again lives; `SERVICE.skew` (seconds) shifts its wall clock for as
long as it is there. `SERVICE.lag` is written for us: the longest time that its event loop stood still, in seconds.
"""

import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from services.responder_adapter.wires.webhook import Webhook
from shared.kernel import clock
from shared.kernel.log.fallback.client import EventsClient
from shared.kernel.log.router import EventRouter
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.process import program, service
from shared.kernel.process.file_journal import FileJournal

TICK = 0.02
Method = Callable[..., Any]
Fits = Callable[[tuple[Any, ...]], bool]


def always(_: tuple[Any, ...]) -> bool:
    return True


def deletes(arguments: tuple[Any, ...]) -> bool:
    return bool(arguments[1]) and arguments[1][0][0] == "XDEL"


@dataclass(frozen=True)
class Step:
    """A moment in a service's work: just before, or just after, a method that fits is through."""

    owner: type[Any]
    method: str
    after: bool = False
    fits: Fits = always


STEPS = {
    "commit.before": Step(ValkeyStore, "commit"),
    "commit.after": Step(ValkeyStore, "commit", after=True),
    "relay.before": Step(AIOKafkaProducer, "send"),
    "relay.sent": Step(AIOKafkaProducer, "send", after=True),
    "delete.before": Step(ValkeyStore, "ask_all", fits=deletes),
    "delete.after": Step(ValkeyStore, "ask_all", after=True, fits=deletes),
    "offsets.before": Step(AIOKafkaConsumer, "commit"),
    "offsets.after": Step(AIOKafkaConsumer, "commit", after=True),
    "post.before": Step(Webhook, "send"),
    "post.after": Step(Webhook, "send", after=True),
    "journal.before": Step(FileJournal, "write_entry"),
    "journal.after": Step(FileJournal, "write_entry", after=True),
    "door.before": Step(EventsClient, "send_rows"),
    "door.after": Step(EventsClient, "send_rows", after=True),
    "learn.before": Step(EventRouter, "learn"),
    "learn.after": Step(EventRouter, "learn", after=True),
}


@dataclass
class Bomb:
    """Goes off at the nth time that its step comes."""

    step: str = ""
    nth: int = 0
    signal: int = signal.SIGKILL
    seen: int = 0

    def met(self, step: str) -> None:
        if step == self.step:
            self.seen += 1
            if self.seen == self.nth:
                os.kill(os.getpid(), self.signal)


@dataclass
class Told:
    """What this process has been told to do."""

    folder: Path
    name: str
    bomb: Bomb = field(default_factory=Bomb)
    skew: timedelta = timedelta()
    worst: float = 0.0

    def read(self, *_: object) -> None:
        """Take the bomb, look at the clock."""
        bomb, skew = self.folder / f"{self.name}.bomb", self.folder / f"{self.name}.skew"
        if bomb.exists():
            self.bomb = Bomb(**json.loads(bomb.read_text()))
            bomb.unlink()
        self.skew = timedelta(seconds=float(skew.read_text())) if skew.exists() else timedelta()
        self.worst = 0.0

    def now(self) -> datetime:
        return clock.now() + self.skew

    async def feel(self) -> None:
        """Note how long the loop stood still, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(TICK)
            lag = loop.time() - before - TICK
            if lag > self.worst:
                self.worst = lag
                (self.folder / f"{self.name}.lag").write_text(f"{lag:.3f}")


def wrap(name: str, step: Step, met: Callable[[str], None]) -> None:
    """Have `met` told each time this step comes. AttributeError if the product has no such method any more."""
    method: Method = getattr(step.owner, step.method)

    @contextmanager
    def around(arguments: tuple[Any, ...]) -> Iterator[None]:
        here = step.fits(arguments)
        if here and not step.after:
            met(name)
        yield
        if here and step.after:
            met(name)

    @wraps(method)
    async def awaited(*arguments: Any, **named: Any) -> Any:
        with around(arguments):
            return await method(*arguments, **named)

    @wraps(method)
    def called(*arguments: Any, **named: Any) -> Any:
        with around(arguments):
            return method(*arguments, **named)

    setattr(step.owner, step.method, awaited if asyncio.iscoroutinefunction(method) else called)


def main(name: str) -> None:
    told = Told(Path(os.environ["JINGYI_TOLD"]), name)
    told.read()
    signal.signal(signal.SIGUSR1, told.read)
    for step_name, step in STEPS.items():
        wrap(step_name, step, lambda met: told.bomb.met(met))
    build = importlib.import_module(f"services.{name}.service").build
    assemble, run = service.assemble_process, service.ServiceProcess.run

    @wraps(assemble)
    def shifted(build: Any, settings: Any) -> Any:
        return assemble(build, settings, told.now)

    async def felt(process: service.ServiceProcess, server: Any) -> None:
        feeling = asyncio.create_task(told.feel())
        try:
            await run(process, server)
        finally:
            feeling.cancel()

    setattr(program, "assemble_process", shifted)  # noqa: B010 the product offers no such hook, and is to have none
    setattr(service.ServiceProcess, "run", felt)  # noqa: B010
    program.run_service(build)


if __name__ == "__main__":
    main(sys.argv[1])
