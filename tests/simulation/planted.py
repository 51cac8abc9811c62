"""Bugs that somebody could write tomorrow, each put into the product for some runs: does the simulator notice?

A planted bug is a name, what it is in words, and what it sets on which class or module. None of them makes a service
fall over by itself: each does its harm only when something else breaks, which is why they would pass every other test.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any
from uuid import uuid4, uuid5

from redis.exceptions import ResponseError

import services.dispatch.service
import services.hotline_intake.service
import services.responder_adapter.service
from services.auditor.ring import AuditorRing
from services.hotline_intake.alarm import decide as alarm
from services.hotline_intake.storeless.mirror import LedgerMirror
from services.responder_adapter import callout, sender, state
from services.responder_adapter.wires import Silence
from services.responder_adapter.wires.signature import sign
from services.responder_adapter.wires.webhook import Webhook
from shared.contract.callouts import CallOutDelivered, CallOutUnreachable
from shared.contract.calls import AlarmClaimed, AlarmReleased
from shared.contract.event import Event
from shared.contract.incidents import CallOutOrdered
from shared.contract.terms import Rung
from shared.kernel.errors import Unavailable
from shared.kernel.log.consumer import Consumer
from shared.kernel.log.relay import Relay
from shared.kernel.machine import keeper
from shared.kernel.machine.store import Store
from shared.kernel.machine.timers import Timers
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.process import events_endpoint, web
from shared.notify import bell
from tests.simulation.store import Valkey

Patch = tuple[Any, str, Callable[[Any], Any]]
"""Where, which name, and what becomes of what stands there."""


@dataclass(frozen=True)
class Bug:
    """One mistake; `words` complete "a product in which …"."""

    name: str
    words: str
    patches: tuple[Patch, ...]


def said_before_done(commit: Any) -> Any:
    async def hasty(self: Store, change: Any) -> list[bytes]:
        later = asyncio.ensure_future(commit(self, change))
        later.add_done_callback(lambda done: done.cancelled() or done.exception())
        return [b"OK"]

    return hasty


def deleted_before_the_ack(send: Any) -> Any:
    async def hasty(self: Relay, shard: Any, row_id: bytes, row: Any) -> None:
        self.mark_acknowledged(shard, row_id)
        await send(self, shard, row_id, row)

    return hasty


def committed_before_the_effect(take: Any) -> Any:
    def hasty(self: Consumer, work: Any, records: list[Any], lanes: Any) -> None:
        take(self, work, records, lanes)
        for record in records:
            work.mark_done(record.offset)

    return hasty


def forgetful(learn: Any) -> Any:
    def forgets(self: Valkey, keys: tuple[bytes, ...], args: tuple[bytes, ...]) -> Any:
        self._hdel(keys[0], b"i:" + args[1])
        return learn(self, keys, args)

    return forgets


def overwriting(learn: Any) -> Any:
    def overwrites(self: Valkey, keys: tuple[bytes, ...], args: tuple[bytes, ...]) -> Any:
        version = self._hget(keys[0], b"v") or b"0"
        return learn(self, keys, (version, *args[1:]))

    return overwrites


def one_key_an_attempt(request: Any) -> Any:
    def numbered(self: Webhook, message: Any, now: Any) -> Any:
        made = request(self, message, now)
        webhook_id = f"{made.headers['webhook-id']}/{message.attempt}"
        signed = sign(self.secret or "", webhook_id, int(now.timestamp()), made.content)
        made.headers.update({"webhook-id": webhook_id, "webhook-signature": signed})
        return made

    return numbered


def without_instance(row: Any) -> Any:
    def named(self: Any, change: Any, n: int, event: Event) -> Any:
        made = row(self, change, n, event)
        return replace(made, headers={**made.headers, "ce_id": str(uuid5(keeper.NAMES, f"{change.key.id}|{n}"))})

    return named


def ordered_anew_when_unreachable(decide: Any) -> Any:
    def raises_n(cities: Any, incident: Any, message: Any, now: Any) -> tuple[Event, ...]:
        events: tuple[Event, ...] = decide(cities, incident, message, now)
        if isinstance(message, CallOutUnreachable) and events:
            about = {"case": message.case, "city": message.city, "at": now, "accept_by": now}
            known = {"tier": incident.tier, "reasons": incident.reasons, "situation": incident.situation}
            return (*events, CallOutOrdered(**about, **known, desk=message.desk, n=message.n + 1))
        return events

    return raises_n


def never_again(failed: Any) -> Any:
    return lambda order, event: replace(failed(order, event), next_at=None)


def given_up_once_people_are_asked(due: Any) -> Any:
    return lambda order: None if order.unreachable else due(order)


def hearing_delivered(build: Any) -> Any:
    @wraps(build)
    def built(kit: Any) -> Any:
        service = build(kit)
        handler = next(iter(service.follows.values()))
        return replace(service, follows={**service.follows, CallOutDelivered: handler})

    return built


def never_held(decide: Any) -> Any:
    @wraps(decide)
    def goes_on(cities: Any, order: Any, message: Any, now: Any) -> tuple[Event, ...]:
        events: tuple[Event, ...] = () if isinstance(message, AlarmClaimed) else decide(cities, order, message, now)
        return events

    return goes_on


def held_for_ever(decide: Any) -> Any:
    @wraps(decide)
    def holds(cities: Any, order: Any, message: Any, now: Any) -> tuple[Event, ...]:
        events: tuple[Event, ...] = () if isinstance(message, AlarmReleased) else decide(cities, order, message, now)
        return events

    return holds


def one_at_a_time(post: Any) -> Any:
    async def waits(self: Any, *more: Any) -> Any:
        async with self.sender.__dict__.setdefault("line", asyncio.Lock()):
            said = await post(self, *more)
            if isinstance(said, Silence):
                await asyncio.sleep(8)  # "give it a moment", and everybody else with it
            return said

    return waits


def learnt_by_nobody(learn: Any) -> Any:
    async def polite(hearing: Any, batch: list[Any]) -> Any:
        return events_endpoint.BatchOutcome([event.id for event in batch])

    return polite


def refusal_is_a_crash(ask: Any) -> Any:
    async def crashes(self: ValkeyStore, *told: Any) -> Any:
        try:
            return await ask(self, *told)
        except Unavailable as silence:
            if "refuses" in str(silence):
                raise ResponseError(str(silence)) from None
            raise

    return crashes


def reads_are_answers(read_store: Any) -> Any:
    async def trusts(self: LedgerMirror) -> None:
        self._calls.store.refuses = False
        await read_store(self)

    return trusts


def only_the_first(_: Any) -> Any:
    return lambda messages, more: messages[0]


async def unfenced(self: sender.DeskLane, attempt: sender.Attempt) -> bool:
    """Takes no last look."""
    return False


async def blind(self: Timers, wakings: Any) -> None:
    """Does not look into the store for deadlines that another life has set."""


async def silent(self: AuditorRing, silences: Any, at: float) -> int:
    """Rings for nobody."""
    return 0


async def fatal(self: Timers, keeper: Any, failed: Any, crash: Exception) -> None:
    """Sets nothing aside."""
    raise crash


NEVER: Callable[[Any], Any] = lambda _: lambda *_: None  # noqa: E731

BUGS = (
    Bug("said before done", "a 2xx is given before the commit", ((ValkeyStore, "commit", said_before_done),)),
    Bug("deleted before the ack", "an outbox row goes when it is sent", ((Relay, "send_row", deleted_before_the_ack),)),
    Bug(
        "committed before the effect",
        "an offset is committed when a record comes",
        ((Consumer, "take_records", committed_before_the_effect),),
    ),
    Bug("forgotten dedupe", "the ids applied are forgotten", ((Valkey, "learn_function", forgetful),)),
    Bug("no version check", "a commit overwrites what is newer", ((Valkey, "learn_function", overwriting),)),
    Bug(
        "no fence",
        "a late attempt leaves whatever came before it",
        ((sender.DeskLane, "is_fenced_off", lambda _: unfenced),),
    ),
    Bug("key per attempt", "each attempt has a key of its own", ((Webhook, "build_request", one_key_an_attempt),)),
    Bug("lost timer", "a deadline lives in memory only", ((Timers, "find_deadlines", lambda _: blind),)),
    Bug(
        "hold on ringing",
        "the machine stops when people are asked",
        ((callout, "attempt_due_at", given_up_once_people_are_asked),),
    ),
    Bug(
        "id without instance",
        "an event id is cause and number only",
        ((keeper.Keeper, "outbox_row", without_instance),),
    ),
    Bug(
        "retry raises n",
        "an unreachable desk is ordered anew",
        ((services.dispatch.service, "decide", ordered_anew_when_unreachable),),
    ),
    Bug("stops after a failure", "a failed attempt has no successor", ((state, "evolve_failure", never_again),)),
    Bug(
        "delivered is enough",
        "a machine's receipt ends the alarm",
        (
            (alarm, "ACCEPTED", lambda known: known | {Rung.DELIVERED}),
            (services.hotline_intake.service, "build", hearing_delivered),
        ),
    ),
    Bug(
        "held for ever",
        "a hold does not end with its claim",
        ((services.responder_adapter.service, "decide", held_for_ever), (callout, "hold_lapses_at", NEVER)),
    ),
    Bug("one desk holds up the other", "all desks share one line", ((sender.DeskLane, "post_once", one_at_a_time),)),
    Bug("polite door", "a door says learnt and learns nothing", ((events_endpoint, "learn_batch", learnt_by_nobody),)),
    Bug(
        "no hold",
        "the machine goes on sending while a person phones",
        ((services.responder_adapter.service, "decide", never_held),),
    ),
    Bug("deaf auditor", "the auditor counts on intake", ((AuditorRing, "ring_desks", lambda _: silent),)),
    Bug(
        "refusal is a crash",
        "a store that refuses ends the service",
        tuple((ValkeyStore, what, refusal_is_a_crash) for what in ("commit", "write_all", "ask_all")),
    ),
    Bug("reads count as answers", "a store that is read is well", ((LedgerMirror, "read_store", reads_are_answers),)),
    Bug(
        "a poison deadline ends the service",
        "a machine that fails at a deadline ends its service",
        ((Timers, "note_failure", lambda _: fatal),),
    ),
    Bug(
        "presumed dead in the queue",
        "an attempt in hand is presumed dead",
        ((sender.DueAttempts, "holds", lambda _: lambda *_: False),),
    ),
    Bug("ring lost in the bundle", "of many rings the first is told", ((bell, "one_message", only_the_first),)),
    Bug(
        "a new cause each time", "a repeated request is a new one", ((web, "request_id", lambda _: lambda *_: uuid4()),)
    ),
)


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The product has the bug of that name meanwhile, if one is named."""
    patches = next(bug.patches for bug in BUGS if bug.name == name) if name else ()
    before = [(where, what, getattr(where, what)) for where, what, _ in patches]
    for (where, what, sound), (_, _, spoil) in zip(before, patches, strict=True):
        setattr(where, what, spoil(sound))
    try:
        yield
    finally:
        for where, what, sound in before:
            setattr(where, what, sound)
