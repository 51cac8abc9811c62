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
    backlog: deque[asyncio.Handle] = field(default_factory=deque)

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


class Stuck(Exception):
    """Nothing is ready and no timer is set, or steps are taken for ever at one moment."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without a selector; `time()` is the seconds since the run began."""

    _ready: deque[asyncio.Handle]

    def __init__(self) -> None:
        super().__init__()
        self._moment = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
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
        if not self._ready:
            self._pass_time()
        for _ in range(len(self._ready)):
            step: Any = self._ready.popleft()
            if not step._cancelled:
                life = step._context.get(LIFE)
                if life is None or self._lives(life, step):
                    step._context.run(step._callback, *step._args)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As every loop has it."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As every loop has it; of two timers for one moment the one set first comes first."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its moment comes."""

    def _pass_time(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Stuck(f"Nothing will ever happen again after {self._moment:.3f} s.")
        self._moment = max(self._moment + INSTANT, timers[0][0])
        while timers and timers[0][0] <= self._moment:
            self._ready.append(heapq.heappop(timers)[2])

    def _lives(self, life: Life, handle: asyncio.Handle) -> bool:
        """Whether this step is taken now; it is counted, and may be the one before which the life ends."""
        if life.dead:
            return False
        if life.frozen:
            life.backlog.append(handle)
            return False
        life.steps += 1
        self.steps += 1
        if life.steps == life.strikes_at:
            life.strike()
            return self._lives(life, handle)
        if self.steps > STEPS_AT_MOST:
            raise Stuck(f"More than {STEPS_AT_MOST} steps by {self._moment:.3f} s, the last in {life.name}.")
        return True

    def _process_events(self, event_list: Any) -> None:
        """There is no selector, hence no event."""

    def _write_to_self(self) -> None:
        """Nobody else's thread calls."""
