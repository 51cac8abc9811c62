"""What Kafka is late with is also told at its hearers' doors, under the same ids; the rows stay for Kafka all the same.

So is what it took in the seconds before: a broker that falls silent may have acknowledged what nobody has heard yet.

Kafka is doubted while a row of ours waits over two seconds, and for some seconds after a peer said that it does: so a
chain of services loses the two seconds once, not at each hop. How old the evidence is goes along with what is told, so
that a doubt ends by itself, however long peers go on telling each other. Urgent rows are told at once in any case.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import structlog

from shared.kernel.errors import Unavailable
from shared.kernel.log.fallback.client import WITHIN, EventsClient
from shared.kernel.log.outbox import stream_position
from shared.kernel.log.relay import Relay
from shared.kernel.machine.store import OutboxRow, Store

LATE = 2.0
"""Seconds after which a row without Kafka's acknowledgement is evidence against it."""

LASTS = 5.0
"""Seconds that evidence holds: longer than a call takes through all services, shorter than anybody minds."""

FIRST = 2.0
"""Seconds for which a row waits at the most for urgent ones of its own commit."""

LOOK = 0.5
"""Seconds between looks at the oldest rows, and between rounds for what a door did not take."""

ASK_EVERY, ASK_AGAIN = 10.0, 1.0
"""Seconds between asking a door what it hears, and until one that was away is asked again."""

READ, KEPT = 200, 1000
"""Rows read of a shard at a time; rows kept for one door, beyond which it must take some first."""

log = structlog.get_logger()


class KafkaDoubt:
    """Whether Kafka is doubted, by the newest evidence that anybody has seen."""

    def __init__(self) -> None:
        self._seen: float | None = None

    def see(self, ago: float = 0.0) -> None:
        """Somebody saw a row wait too long, `ago` seconds before now."""
        moment = asyncio.get_running_loop().time() - ago
        self._seen = moment if self._seen is None else max(self._seen, moment)

    @property
    def age(self) -> float | None:
        """Seconds since the newest evidence; None when Kafka is not doubted."""
        age = None if self._seen is None else asyncio.get_running_loop().time() - self._seen
        return age if age is not None and age < LASTS else None


@dataclass(eq=False)
class _PeerQueue:
    """To one door: how far each outbox was read for it, what of that it has yet to learn, and until when not to tell it
    again of a case that it could not learn of. `taken_too`: what Kafka took just before may lie there unheard."""

    peer: EventsClient
    read: dict[str, bytes] = field(default_factory=dict)
    waiting: list[OutboxRow] = field(default_factory=list)
    put_off: dict[str, float] = field(default_factory=dict)
    taken_too: bool = True
    urgent: list[OutboxRow] = field(default_factory=list)
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self) -> None:
        """Kafka has them all, or takes them in time."""
        self.read.clear()
        self.waiting.clear()
        self.taken_too = True


class FallbackDelivery:
    """Tells one service's late rows at the doors of its peers."""

    def __init__(
        self,
        peers: Iterable[EventsClient],
        relay: Relay,
        transport: Callable[..., httpx.AsyncBaseTransport] = httpx.AsyncHTTPTransport,
    ) -> None:
        self._ways = [_PeerQueue(peer) for peer in peers]
        self._relay = relay
        self._transport = transport
        self._doubt = KafkaDoubt()
        self._doubting = False
        self._pressing: Counter[str] = Counter()
        self._answered: dict[str, asyncio.Event] = {}
        relay.first = self.known

    @property
    def away(self) -> list[str]:
        """The peers whose doors did not answer."""
        return [way.peer.name for way in self._ways if way.peer.away]

    @property
    def doubted(self) -> bool:
        """Whether Kafka is doubted now."""
        return self._doubt.age is not None

    def hear(self, ago: float) -> None:
        """A peer, or one of its peers, saw Kafka late `ago` seconds before now."""
        self._doubt.see(ago)
        self._wake()

    def offer(self, rows: tuple[OutboxRow, ...]) -> None:
        """Look at freshly committed rows: the urgent go at once, the others too while Kafka is doubted.

        The others of a case wait for its urgent ones at every door: what a person has phoned must be known before the
        cry that it answers has become an order.
        """
        urgent = [row for row in rows if row.urgent]
        for way in self._ways if urgent else ():
            way.urgent += urgent
            self._pressing.update(row.key for row in urgent)
            way.hurry.set()
        if self._ways and 0 < len(urgent) < len(rows):
            for row in urgent:
                self._answered.setdefault(row.key, asyncio.Event())
        if rows and self.doubted:
            self._wake()

    async def known(self, row: OutboxRow) -> None:
        """Return once what was committed with this row and is urgent has been told at the doors, or after a while.

        A cry and the phone call that answered it are learnt together when a silent store is back. By way of Kafka the
        order that comes of the cry may be at its desk before the phone call is heard of.
        """
        if answered := self._answered.get(row.key):
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST):
                    await answered.wait()

    async def run(self, store: Store) -> None:
        """Look, ask and tell, for ever. Without peers there is nothing to do."""
        if not self._ways:
            return
        limits = httpx.Limits(max_connections=20, max_keepalive_connections=20, keepalive_expiry=30)
        pool = self._transport(verify=ssl.create_default_context(), trust_env=False, limits=limits)
        async with (
            httpx.AsyncClient(transport=pool, timeout=WITHIN, trust_env=False) as client,
            asyncio.TaskGroup() as work,
        ):
            work.create_task(self._look(store))
            for way in self._ways:
                work.create_task(self._ask(way.peer, client))
                work.create_task(self._tell_late(way, store, client))
                work.create_task(self._tell_urgent(way, client))

    def _wake(self) -> None:
        for way in self._ways:
            way.fresh.set()

    async def _look(self, store: Store) -> None:
        clock, late_at = asyncio.get_running_loop().time, float("-inf")
        while True:
            oldest = 0.0
            with suppress(Unavailable):
                oldest = await self._oldest(store)
            if oldest >= LATE:
                self._doubt.see()
                if clock() - late_at > LATE:  # it had been well, and falls silent anew
                    for way in self._ways:
                        way.taken_too = True
                late_at = clock()
                self._wake()
            if self.doubted is not self._doubting:
                self._doubting = self.doubted
                log.warning("hedging" if self._doubting else "hedging_ended", signal="warning", waits=round(oldest, 1))
            await asyncio.sleep(min(LOOK, LATE - oldest) if oldest < LATE else LOOK)

    async def _oldest(self, store: Store) -> float:
        """Seconds the oldest row of our shards waits for Kafka, by the store's clock."""
        mine = self._relay.leases.held_shards()
        time, *heads = await store.ask_all([("TIME",), *(("XRANGE", s.outbox, "-", "+", "COUNT", 1) for s in mine)])
        now = int(time[0]) * 1000 + int(time[1]) // 1000
        late = [
            now - stream_position(head[0][0])[0]
            for shard, head in zip(mine, heads, strict=True)
            if head and head[0][0] not in shard.acknowledged
        ]
        return max(late, default=0) / 1000

    async def _ask(self, peer: EventsClient, client: httpx.AsyncClient) -> None:
        while True:
            with suppress(Unavailable):
                await peer.ask(client)
            await asyncio.sleep(ASK_AGAIN if peer.away else ASK_EVERY)

    async def _tell_urgent(self, way: _PeerQueue, client: httpx.AsyncClient) -> None:
        """Once, in their order; a door that is away hears of them as of all others."""
        while True:
            await way.hurry.wait()
            way.hurry.clear()
            rows, way.urgent = way.urgent, []
            pressing = Counter(row.key for row in rows)
            with suppress(Unavailable):
                if way.peer.hears is None:
                    await way.peer.ask(client)
                rows = _heard(way.peer, rows)
                while rows:
                    told, _ = await way.peer.tell(client, rows, self._doubt.age)
                    rows = rows[len(told) :]
            self._pressing -= pressing
            for case in (pressing.keys() & self._answered.keys()) - self._pressing.keys():
                self._answered.pop(case).set()
            self._wake()

    async def _tell_late(self, way: _PeerQueue, store: Store, client: httpx.AsyncClient) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK if self.doubted else None):
                    await way.fresh.wait()
            way.fresh.clear()
            if not self.doubted:
                way.forget()
                continue
            with suppress(Unavailable):
                if way.peer.away or way.peer.hears is None:
                    await way.peer.ask(client)
                more = True
                while more:
                    more = len(way.waiting) < KEPT and await self._read(way, store)
                    await self._tell(way, client)

    async def _read(self, way: _PeerQueue, store: Store) -> bool:
        """Take the rows that came since for this door; whether more lie behind them."""
        mine, more = self._relay.leases.held_shards(), False
        if way.taken_too:
            way.waiting += _heard(way.peer, self._relay.taken())
            way.taken_too = False
        way.read = {shard.tag: way.read.get(shard.tag, b"-") for shard in mine}
        replies = await store.ask_all([("XRANGE", s.outbox, way.read[s.tag], "+", "COUNT", READ) for s in mine])
        for shard, entries in zip(mine, replies, strict=True):
            rows = [OutboxRow.read(fields) for row_id, fields in entries if row_id not in shard.acknowledged]
            way.waiting += _heard(way.peer, rows)
            way.read[shard.tag] = b"(" + entries[-1][0] if entries else way.read[shard.tag]
            more = more or len(entries) == READ
        return more

    async def _tell(self, way: _PeerQueue, client: httpx.AsyncClient) -> None:
        """One go through all that waits for a door. What it does not learn holds back the rest of its case."""
        now = asyncio.get_running_loop().time()
        way.put_off = {case: until for case, until in way.put_off.items() if until > now}
        while rows := [row for row in way.waiting if row.key not in self._pressing and row.key not in way.put_off]:
            told, done = await way.peer.tell(client, rows, self._doubt.age)
            way.put_off |= {row.key: now + LOOK for row in told if row.headers["ce_id"] not in done}
            way.waiting = [row for row in way.waiting if row.headers["ce_id"] not in done]


def _heard(peer: EventsClient, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
    return [row for row in rows if row.headers.get("ce_type") in (peer.hears or ())]
