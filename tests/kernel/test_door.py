"""The door for peers: what is told there is learnt once, as from Kafka, and the answer says what came of each event."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import structlog

from shared.kernel.clock import now
from shared.kernel.errors import Unavailable
from shared.kernel.log.fallback.client import AT_ONCE, MAX_BATCH
from shared.kernel.machine.cloudevent import BATCH
from shared.kernel.process.service import Kit, Service, running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import CITY, PEERS, alive, counted, give, header, mouth, once, ready, total, totals
from tests.kernel.tally.service import Given
from tests.kernel.tally.service import build as tally

PEER = PEERS["giver"].get_secret_value()
SILENT, BROKEN = 664, 661
Batch = list[dict[str, Any]]


def build(kit: Kit) -> Service:
    """The tally, which hears some amounts the hard way."""

    def hear(given: Given) -> None:
        if given.amount == SILENT:
            raise Unavailable("Something is away.")
        if given.amount == BROKEN:
            raise RuntimeError("a bug")

    return tally(kit, hear)


build.__module__ = tally.__module__


@pytest.fixture
async def peer(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {PEER}", "content-type": BATCH}
    async with httpx.AsyncClient(base_url=settings.base_url, headers=headers, trust_env=False, timeout=10) as made:
        yield made


def given(case: UUID, amount: int, **more: Any) -> dict[str, Any]:
    event = Given(case=case, city=CITY, at=now(), amount=amount)
    named = {"specversion": "1.0", "id": str(uuid4()), "type": Given.type_name(), "partitionkey": str(case)}
    return {**named, "source": "/jingyi/giver", "data": event.model_dump(mode="json"), **more}


async def tell(peer: httpx.AsyncClient, batch: Batch) -> dict[str, Any]:
    answer = await peer.post("/events", json=batch)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_what_is_told_at_the_door_and_comes_by_kafka_too_is_learnt_once(
    settings: Settings, client: httpx.AsyncClient, peer: httpx.AsyncClient
) -> None:
    case = uuid4()
    batch = [given(case, 2), given(case, 3)]
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        ids = [event["id"] for event in batch]
        assert await tell(peer, batch) == {"learnt": ids, "refused": {}}
        assert await tell(peer, batch[:1]) == {"learnt": ids[:1], "refused": {}}
        for event, amount in zip(batch, (2, 3), strict=True):
            await give(producer, case, amount, event["id"])
        await give(producer, case, 4)
        assert totals(once(await counted(settings.kafka, case, 9))) == [2, 5, 9]


async def test_it_says_what_it_hears_and_only_to_peers(
    settings: Settings, client: httpx.AsyncClient, peer: httpx.AsyncClient
) -> None:
    async with running_service(build, settings):
        await alive(client)
        assert (await peer.get("/events")).json() == {"hears": [Given.type_name()]}
        for token in (settings.api_token.get_secret_value(), "x", PEER[:-1]):
            stranger = {"authorization": f"Bearer {token}"}
            assert (await client.get("/events", headers=stranger)).status_code == 401
            assert (await client.post("/events", json=[given(uuid4(), 1)], headers=stranger)).status_code == 401


async def test_what_cannot_be_learnt_holds_back_its_own_case_alone(
    settings: Settings, client: httpx.AsyncClient, peer: httpx.AsyncClient
) -> None:
    waiting, broken, well = uuid4(), uuid4(), uuid4()
    batch = [given(c, amount) for c, amount in ((waiting, SILENT), (broken, BROKEN), (well, 1))]
    batch += [given(case, 1) for case in (waiting, broken, well)]
    async with running_service(build, settings):
        await alive(client)
        told = await tell(peer, batch)
        assert told == {"learnt": [batch[2]["id"], batch[5]["id"]], "refused": {}}
        assert (await total(client, well), await total(client, waiting)) == (2, 0)


async def test_what_can_never_be_learnt_is_refused_with_the_reason_of_a_dead_letter(
    settings: Settings, client: httpx.AsyncClient, peer: httpx.AsyncClient
) -> None:
    case = uuid4()
    wrong = {
        "invalid_event": given(case, 1, data={"case": str(case)}),
        "invalid_id": given(case, 1, id="first"),
        "invalid_type": given(case, 1, type="cn.jingyi.Unheard"),
        "foreign_key": given(case, 1, partitionkey=str(uuid4())),
        "negative": given(case, -1),
    }
    async with running_service(build, settings):
        await alive(client)
        told = await tell(peer, [*wrong.values(), last := given(case, 7)])
        assert told == {"learnt": [last["id"]], "refused": {event["id"]: why for why, event in wrong.items()}}
        assert await total(client, case) == 7


async def test_s6_a_service_is_heard_at_the_door_on_its_own_events_alone(
    settings: Settings, client: httpx.AsyncClient, peer: httpx.AsyncClient
) -> None:
    """Else whoever holds one service's token forges any event of any other."""
    case = uuid4()
    forged, own = given(case, 1), given(case, 2)
    async with running_service(build, settings):
        await alive(client)
        forger = {"authorization": f"Bearer {PEERS['hearer'].get_secret_value()}"}
        answer = await peer.post("/events", json=[forged], headers=forger)
        assert answer.json() == {"learnt": [], "refused": {forged["id"]: "foreign_source"}}
        assert (await tell(peer, [own]))["learnt"] == [own["id"]]
        assert await total(client, case) == 2


async def test_s7_a_batch_of_too_many_events_teaches_nothing(
    settings: Settings, client: httpx.AsyncClient, peer: httpx.AsyncClient
) -> None:
    case = uuid4()
    batch = [given(case, 1) for _ in range(AT_ONCE + 1)]
    async with running_service(build, settings):
        await alive(client)
        refusal = await peer.post("/events", json=batch)
        assert (refusal.status_code, "body: too_long" in refusal.json()["detail"]) == (422, True)
        assert (await peer.post("/events", json=[given(case, 1, id="x" * 201)])).status_code == 422
        assert (await tell(peer, batch[1:]))["learnt"] == [event["id"] for event in batch[1:]]
        assert await total(client, case) == AT_ONCE


@pytest.mark.parametrize(("amount", "said"), [(-1, "event_refused"), (SILENT, "waiting"), (BROKEN, "event_not_learnt")])
async def test_s7_a_batch_writes_one_line_for_each_thing_that_is_wrong(
    settings: Settings, client: httpx.AsyncClient, peer: httpx.AsyncClient, amount: int, said: str
) -> None:
    """Else one token fills a disk with what it sends."""
    batch = [given(uuid4(), amount) for _ in range(AT_ONCE)]
    async with running_service(build, settings):
        await alive(client)
        with structlog.testing.capture_logs() as logs:
            assert (await tell(peer, batch))["learnt"] == []
    [line] = [line for line in logs if line["event"] in {"event_refused", "waiting", "event_not_learnt"}]
    assert (line["event"], len(line.get("ids", ())), line.get("events")) == (
        (said, 5, AT_ONCE) if amount < 0 else (said, 0, None)
    )


async def test_a_batch_may_be_larger_than_a_staff_request_and_no_larger_than_its_own_limit(
    settings: Settings, client: httpx.AsyncClient, peer: httpx.AsyncClient
) -> None:
    case = uuid4()
    large = given(case, 1)
    large["data"]["padding"] = "x" * 200_000
    async with running_service(build, settings):
        await alive(client)
        assert (await tell(peer, [large]))["learnt"] == [large["id"]]
        large["data"]["padding"] = "x" * MAX_BATCH
        assert (await peer.post("/events", json=[large])).status_code == 413
        for nonsense in (b"{}", b"[1]", b"[" * 50_000, b"\xff"):
            assert 400 <= (await peer.post("/events", content=nonsense)).status_code < 500


async def test_a_drill_told_at_the_door_stays_one(
    settings: Settings, client: httpx.AsyncClient, peer: httpx.AsyncClient
) -> None:
    case = uuid4()
    async with running_service(build, settings):
        await ready(client)
        await tell(peer, [given(case, 1, drill="true")])
        records = await counted(settings.kafka, case, 1)
    assert {header(record, "ce_drill") for record in records} == {"true"}
