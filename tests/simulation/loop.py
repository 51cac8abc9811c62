"""Virtual time: an event loop in which nothing waits, and in which a process can end between any two of its steps.

Time stands still while anything is ready and then jumps to the next timer, so that one seed gives one schedule. A task
belongs to the life it was started in, and so does everything that it starts. A life that has ended takes no step any
more: no `finally` of it runs, as after kill -9. One that is frozen (SIGSTOP) takes its steps when it thaws.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from itertools import count
from typing import Any

STEPS_AT_MOST = 2_000_000
"""Steps of one run after which something spins without letting time pass."""

INSTANT = 1e-9
"""Seconds that pass at the least between two looks at the clock: a wait too short for a float ends like any other."""


@dataclass(eq=False)
class Life:
    """One process from its start to its end; before its step `strikes_at`, `strike` is done to it."""

    name: str
    number: int = 1
    steps: int = 0
    strikes_at: int | None = None
    strike: Callable[[], None] = lambda: None
    dead: bool = False
    frozen: bool = False
    at_end: list[Callable[[], None]] = field(default_factory=list)
    backlog: "deque[Step]" = field(default_factory=deque)

    def after(self, steps: int, strike: Callable[[], None]) -> None:
        """Have it struck before it has taken that many more steps."""
        self.strikes_at, self.strike = self.steps + steps + 1, strike

    def context(self) -> Context:
        """Where this life's first task is to be started."""
        context = copy_context()
        context.run(LIFE.set, self)
        return context

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = True

    def end(self) -> None:
        """kill -9."""
        if not self.dead:
            self.dead = True
            self.backlog.clear()
            for tell in self.at_end:
                tell()


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)
"""Whose step this is; None for what is outside: the store, the brokers, the desks, people."""


class Step:
    """A callback that is to be called, as far as a loop's handle is used; asyncio's own cost a tenth of a run."""

    __slots__ = ("args", "callback", "called_off", "context")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.called_off = False

    def cancel(self) -> None:
        """It is passed over when its moment comes."""
        self.called_off = True
        self.args = ()

    def cancelled(self) -> bool:
        return self.called_off


class Stuck(Exception):
    """Nothing is ready and no timer is set, or steps are taken for ever at one moment."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without a selector; `time()` is the seconds since the run began."""

    _ready: deque[Step]

    def __init__(self) -> None:
        super().__init__()
        self._moment = 0.0
        self._timers: list[tuple[float, int, Step]] = []
        self._order = count()
        self.steps = 0

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._moment

    def stand_still(self, seconds: float) -> None:
        """A callback blocks the loop, or the machine is stopped: time passes and nothing is run."""
        self._moment += seconds

    def thaw(self, life: Life) -> None:
        """SIGCONT: everything that came to it meanwhile happens now."""
        life.frozen = False
        self._ready.extend(life.backlog)
        life.backlog.clear()

    def _run_once(self) -> None:
        ready = self._ready
        if not ready:
            self._pass_time()
        for _ in range(len(ready)):
            step = ready.popleft()
            if not step.called_off:
                life = step.context.get(LIFE)
                if life is None or self._lives(life, step):
                    step.context.run(step.callback, *step.args)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Step:
        """As every loop has it."""
        step = Step(callback, args, context)
        self._ready.append(step)
        return step

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Step:
        """As every loop has it; of two timers for one moment the one set first comes first."""
        step = Step(callback, args, context)
        heapq.heappush(self._timers, (when, next(self._order), step))
        return step

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Step:
        """As every loop has it."""
        return self.call_at(self._moment + delay, callback, *args, context=context)

    def _pass_time(self) -> None:
        timers = self._timers
        while timers and timers[0][2].called_off:
            heapq.heappop(timers)
        if not timers:
            raise Stuck(f"Nothing will ever happen again after {self._moment:.3f} s.")
        self._moment = max(self._moment + INSTANT, timers[0][0])
        while timers and timers[0][0] <= self._moment:
            self._ready.append(heapq.heappop(timers)[2])

    def _lives(self, life: Life, step: Step) -> bool:
        """Whether this step is taken now; it is counted, and may be the one before which the life ends."""
        if life.dead:
            return False
        if life.frozen:
            life.backlog.append(step)
            return False
        life.steps += 1
        self.steps += 1
        if life.steps == life.strikes_at:
            life.strike()
            return self._lives(life, step)
        if self.steps > STEPS_AT_MOST:
            raise Stuck(f"More than {STEPS_AT_MOST} steps by {self._moment:.3f} s, the last in {life.name}.")
        return True

    def _process_events(self, event_list: Any) -> None:
        """There is no selector, hence no event."""

    def _write_to_self(self) -> None:
        """Nobody else's thread calls."""
