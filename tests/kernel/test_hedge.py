"""What Kafka does not take in two seconds is told at its hearers' doors, once and in order, and still to Kafka."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast
from uuid import UUID, uuid4

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from deploy.local.kafka import Cluster
from deploy.local.ports import free
from shared.contract.event import Event
from shared.kernel.errors import Unavailable
from shared.kernel.log.fallback.client import EventsClient
from shared.kernel.log.fallback.delivery import LASTS, LATE, LOOK, FallbackDelivery, KafkaDoubt
from shared.kernel.log.relay import Relay, at_once
from shared.kernel.machine.keeper import IdempotencyKey
from shared.kernel.machine.store import OutboxRow, Store
from shared.kernel.process.service import Kit, Service, ServiceProcess, running_service
from shared.kernel.process.settings import Settings
from tests.kernel.conftest import speaking
from tests.kernel.scene import add, alive, counted, ready, stopped, total, totals
from tests.kernel.tally.service import Counted, build
from tests.support.eventually import eventually

LOADED = 2.0
"""Seconds a busy machine may add."""


class Nothing(Event):
    """What a service that only hears would say."""

    service: ClassVar[str] = "hearer"
    topic: ClassVar[str] = Counted.topic


@dataclass
class Hearer:
    """A peer of the tally, which notes what it learns, when first, and is deaf to some cases for a while."""

    told: dict[UUID, tuple[UUID, int, float]] = field(default_factory=dict)
    deaf_to: set[UUID] = field(default_factory=set)

    async def learn(self, event: Counted, cause: IdempotencyKey) -> None:
        if event.case in self.deaf_to:
            raise Unavailable("Deaf.")
        self.told.setdefault(cause.id, (event.case, event.total, asyncio.get_running_loop().time()))

    def totals(self, case: UUID) -> list[int]:
        return [total for about, total, _ in self.told.values() if about == case]

    async def hears(self, case: UUID, last: int, within: float = 20) -> float:
        """Waits for a total; the moment it first came."""

        async def so() -> bool:
            return last in self.totals(case)

        await eventually(so, within)
        return next(at for about, total, at in self.told.values() if (about, total) == (case, last))

    @asynccontextmanager
    async def running(self, settings: Settings) -> AsyncIterator[ServiceProcess]:
        def hearing(kit: Kit) -> Service:
            return Service("hearer", {Counted: self.learn}, Nothing)

        hearing.__module__ = "tests.kernel.hearer.service"
        async with running_service(hearing, settings) as process:
            yield process


@dataclass
class Pair:
    """The tally, and a peer that hears what it counts."""

    here: Settings
    there: Settings
    hearer: Hearer = field(default_factory=Hearer)

    @asynccontextmanager
    async def running(self, **changed: Any) -> AsyncIterator[tuple[ServiceProcess, ServiceProcess]]:
        here = self.here.model_copy(update=changed)
        async with running_service(build, here) as tally, self.hearer.running(self.there) as peer:
            for settings in (here, self.there):
                async with speaking(settings) as client:
                    await ready(client)
            yield tally, peer


@pytest.fixture
def pair(frail_settings: Settings) -> Pair:
    port = free(1)[0]
    there = frail_settings.model_copy(update={"port": port, "doors": {"tally": frail_settings.base_url}})
    return Pair(frail_settings.model_copy(update={"doors": {"hearer": there.base_url}}), there)


async def test_a_row_kafka_does_not_take_is_told_after_two_seconds_and_the_next_ones_at_once_and_in_order(
    pair: Pair, client: httpx.AsyncClient, frail: Cluster
) -> None:
    case, clock = uuid4(), asyncio.get_running_loop().time
    async with pair.running():
        async with stopped(frail):
            begun = clock()
            await add(client, case, 1, "first")
            assert LATE <= await pair.hearer.hears(case, 1) - begun < LATE + LOADED
            for nth in range(2, 12):
                begun = clock()
                await add(client, case, 1, f"{nth}")
            assert await pair.hearer.hears(case, 11) - begun < LOADED
        assert pair.hearer.totals(case) == list(range(1, 12))
        assert 11 in totals(await counted(pair.here.kafka, case, 11, 40))
        assert pair.hearer.totals(case) == list(range(1, 12))


async def test_what_kafka_took_just_before_it_fell_silent_is_told_too(
    pair: Pair, client: httpx.AsyncClient, frail: Cluster
) -> None:
    taken, late = uuid4(), uuid4()
    deaf = pair.there.model_copy(update={"kafka": f"127.0.0.1:{free(1)[0]}"})
    async with running_service(build, pair.here), pair.hearer.running(deaf):
        await ready(client)
        await add(client, taken, 1, "taken")
        await counted(pair.here.kafka, taken, 1)
        assert pair.hearer.totals(taken) == []
        async with stopped(frail):
            await add(client, late, 1, "late")
            await pair.hearer.hears(late, 1)
            await pair.hearer.hears(taken, 1)


async def test_so_is_what_it_took_between_two_silences_that_are_one_doubt(
    pair: Pair, client: httpx.AsyncClient, frail: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, late = uuid4(), uuid4()
    deaf = pair.there.model_copy(update={"kafka": f"127.0.0.1:{free(1)[0]}"})

    async def doubting(hedge: FallbackDelivery) -> None:
        while True:
            hedge._doubt.note_evidence()
            await asyncio.sleep(0.2)

    async with running_service(build, pair.here) as tally, pair.hearer.running(deaf):
        await ready(client)
        doubt = asyncio.create_task(doubting(tally.fallback))
        await asyncio.sleep(2 * LOOK)
        with monkeypatch.context() as between_looks:
            between_looks.setattr(tally.fallback, "_wake_queues", lambda: None)
            await add(client, taken, 1, "taken")
            await counted(pair.here.kafka, taken, 1)
        async with stopped(frail):
            await add(client, late, 1, "late")
            await pair.hearer.hears(late, 1)
            await pair.hearer.hears(taken, 1)
        doubt.cancel()


async def test_whoever_is_told_doubts_kafka_too_and_the_doubt_ends_when_kafka_is_back(
    pair: Pair, client: httpx.AsyncClient, frail: Cluster
) -> None:
    case = uuid4()
    with capture_logs() as logs:
        async with pair.running() as (tally, peer):
            async with stopped(frail):
                await add(client, case, 1, "first")
                await pair.hearer.hears(case, 1)
                assert peer.fallback.doubts_kafka
                assert (await client.get("/health/ready")).json()["hedging"]

            async def over() -> bool:
                return not tally.fallback.doubts_kafka and not peer.fallback.doubts_kafka

            await eventually(over, 40)
            await asyncio.sleep(1)
    signals = [line["event"] for line in logs if line.get("signal") == "warning"]
    assert {"hedging", "hedging_ended"} <= set(signals)


async def test_a_doubt_that_is_only_passed_on_ends_by_itself() -> None:
    doubt, echo = KafkaDoubt(), KafkaDoubt()
    doubt.note_evidence(LASTS - 0.3)
    while doubt.evidence_age is not None:
        echo.note_evidence(doubt.evidence_age)
        doubt.note_evidence(echo.evidence_age or 0)
        await asyncio.sleep(0.05)
    assert echo.evidence_age is None


async def test_a_case_that_the_peer_cannot_learn_waits_in_order_and_holds_back_no_other(
    pair: Pair, client: httpx.AsyncClient, frail: Cluster
) -> None:
    deaf, well = uuid4(), uuid4()
    pair.hearer.deaf_to.add(deaf)
    async with pair.running(), stopped(frail):
        for nth in range(3):
            await add(client, deaf, 1, f"{nth}")
            await add(client, well, 1, f"{nth}")
        await pair.hearer.hears(well, 3)
        assert pair.hearer.totals(deaf) == []
        pair.hearer.deaf_to.clear()
        await pair.hearer.hears(deaf, 3)
    assert (pair.hearer.totals(deaf), pair.hearer.totals(well)) == ([1, 2, 3], [1, 2, 3])


async def test_a_peer_that_was_away_is_told_when_it_comes_and_kafka_may_be_away_since_the_start(
    pair: Pair, client: httpx.AsyncClient
) -> None:
    case, nowhere = uuid4(), {"kafka": f"127.0.0.1:{free(1)[0]}"}
    async with AsyncExitStack() as later, running_service(build, pair.here.model_copy(update=nowhere)) as tally:
        await alive(client)
        for nth in range(3):
            assert (await add(client, case, 1, f"{nth}")).is_success
        await asyncio.sleep(LATE)
        assert tally.fallback.unreachable_peers == ["hearer"]
        assert "door of hearer" in (await client.get("/health/ready")).json()["away"]
        await later.enter_async_context(pair.hearer.running(pair.there.model_copy(update=nowhere)))
        await pair.hearer.hears(case, 3)
        assert pair.hearer.totals(case) == [1, 2, 3]
        assert tally.fallback.unreachable_peers == []


async def test_an_urgent_row_is_told_at_once(
    pair: Pair,
    client: httpx.AsyncClient,
    frail: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case, clock = uuid4(), asyncio.get_running_loop().time
    monkeypatch.setattr(Counted, "urgent", True)
    async with pair.running() as (tally, _), stopped(frail):
        begun = clock()
        await add(client, case, 1, "first")
        assert await pair.hearer.hears(case, 1) - begun < LATE - 0.5
        assert not tally.fallback.doubts_kafka


async def test_switched_off_nothing_is_told_before_kafka_is_back(
    pair: Pair, client: httpx.AsyncClient, frail: Cluster
) -> None:
    case = uuid4()
    async with pair.running(hedge=False):
        async with stopped(frail):
            await add(client, case, 1, "first")
            await asyncio.sleep(LATE + LOADED)
            assert pair.hearer.totals(case) == []
        await pair.hearer.hears(case, 1, 40)


async def test_while_kafka_works_nothing_is_told_at_doors(
    pair: Pair, client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    case = uuid4()
    async with pair.running():
        for nth in range(5):
            await add(client, case, 1, f"{nth}")
        await pair.hearer.hears(case, 5)
        assert await total(client, case) == 5
    assert [span.name for span in spans.get_finished_spans() if span.name.startswith("hedge ")] == []


async def test_the_hop_past_kafka_is_in_the_trace_of_its_case(
    pair: Pair,
    client: httpx.AsyncClient,
    frail: Cluster,
    spans: InMemorySpanExporter,
) -> None:
    case = uuid4()
    async with pair.running(), stopped(frail):
        await add(client, case, 1, "first")
        await pair.hearer.hears(case, 1)
        await asyncio.sleep(0.2)
    found = {span.name: span for span in spans.get_finished_spans() if span.context.trace_id == case.int}
    told, heard = found["hedge tally.counted"], found[f"hear {Counted.type_name()}"]
    assert heard.parent is not None
    assert heard.parent.span_id == told.context.span_id


@pytest.mark.parametrize("said", ["[]", "{}", "null", "<html>", '{"learnt": 1}', '{"hears": [[1]]}'])
async def test_a_door_that_talks_nonsense_is_away_and_ends_nobody(said: str) -> None:
    peer = EventsClient("stranger", "http://stranger", "token")
    nonsense = httpx.MockTransport(lambda _: httpx.Response(200, text=said))
    row = OutboxRow("tally.counted", str(uuid4()), {"ce_id": str(uuid4()), "ce_type": Counted.type_name()}, b"{}")
    async with httpx.AsyncClient(transport=nonsense) as client:
        with pytest.raises(Unavailable):
            await peer.fetch_types(client)
        with pytest.raises(Unavailable):
            await peer.send_rows(client, [row], None)
    assert peer.unreachable


async def test_s7_a_peer_that_comes_and_goes_and_refuses_much_is_said_in_few_lines() -> None:
    """Else its trouble fills the disk of everybody else."""
    peer = EventsClient("dispatch", "http://dispatch", "token")
    rows = [OutboxRow("tally.counted", str(uuid4()), {"ce_id": str(uuid4())}, b"{}") for _ in range(50)]
    refused = {row.headers["ce_id"]: "foreign_source" for row in rows}
    answers = itertools.cycle([{"hears": []}, "nonsense", {"learnt": [], "refused": refused}])
    flapping = httpx.MockTransport(lambda _: httpx.Response(200, json=next(answers)))
    async with httpx.AsyncClient(transport=flapping) as client:
        with capture_logs() as logs:
            for _ in range(20):
                await peer.fetch_types(client)
                with pytest.raises(Unavailable):
                    await peer.send_rows(client, rows, None)
                assert (await peer.send_rows(client, rows, None))[1] == refused.keys()
    assert sum(line["event"] == "door_away" for line in logs) == 1
    named = [(line["events"], len(line["ids"])) for line in logs if line["event"] == "event_refused"]
    assert named == [(50, 5)] * 20


class Doors(httpx.AsyncBaseTransport):
    """Two doors that note in which order they were told what; the adapter's is slow."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"hears": ["Escalated", "Phoned"]})
        batch = json.loads(await request.aread())
        await asyncio.sleep(0.3 if request.url.host == "adapter" else 0)
        self.told += [(request.url.host, event["type"]) for event in batch]
        return httpx.Response(200, json={"learnt": [event["id"] for event in batch], "refused": {}})


@dataclass
class Outbox:
    """As much of a relay and of a store as a hedge needs: one shard with these rows."""

    rows: list[tuple[bytes, OutboxRow]]
    before_send: Callable[[OutboxRow], Awaitable[None] | None] = at_once
    tag: str = "{s00}"
    outbox: str = "{s00}:intake:outbox"
    acknowledged: tuple[bytes, ...] = ()

    @property
    def leases(self) -> "Outbox":
        return self

    def held_shards(self) -> list["Outbox"]:
        return [self]

    def unanswered_for(self) -> float:
        return 0.0

    def recent_rows(self) -> list[OutboxRow]:
        return []

    async def ask_all(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        return [(b"9", b"0") if command[0] == "TIME" else self._after(command[2]) for command in commands]

    def _after(self, start: bytes | str) -> list[Any]:
        return [] if start != "-" and start != b"-" else [(row_id, flat(row)) for row_id, row in self.rows]


def flat(row: OutboxRow) -> list[bytes]:
    fields = {b"t": row.topic.encode(), b"k": row.key.encode(), b"h": json.dumps(row.headers).encode(), b"v": row.value}
    return [part for pair in fields.items() for part in pair]


async def test_a_cry_waits_at_every_door_until_the_phone_call_that_answers_it_is_known() -> None:
    case = str(uuid4())

    def row(kind: str, *, urgent: bool) -> OutboxRow:
        headers = {
            "ce_id": str(uuid4()),
            "ce_type": kind,
            "ce_specversion": "1.0",
            "ce_source": "/jingyi/hotline_intake",
        }
        return OutboxRow("hotline.calls", case, headers, b"{}", urgent)

    rows = (row("Escalated", urgent=False), row("Phoned", urgent=True))
    kept = Outbox([(b"%d-0" % n, one) for n, one in enumerate(rows, 1)])
    doors = Doors()
    peers = [EventsClient(name, f"http://{name}", "token") for name in ("dispatch", "adapter")]
    hedge = FallbackDelivery(peers, cast(Relay, kept), lambda **_: doors)
    working = asyncio.create_task(hedge.run(cast(Store, kept)))
    hedge.note_doubt(0)
    hedge.take_rows(rows)

    first = kept.before_send(rows[0])
    assert first is not None
    await first  # as the relay does before it gives a row to Kafka
    assert ("adapter", "Phoned") in doors.told

    async def all_told() -> bool:
        return ("dispatch", "Escalated") in doors.told

    await eventually(all_told, 5)
    working.cancel()
    assert doors.told.index(("adapter", "Phoned")) < doors.told.index(("dispatch", "Escalated"))
