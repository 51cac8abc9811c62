"""Records that cannot be understood are put aside with their reason, and stop nobody else."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx

from shared.contract.event import Event
from shared.kernel.clock import now
from shared.kernel.errors import Unavailable
from shared.kernel.log.suspects import CRASHES
from shared.kernel.process.service import Kit, Service, running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import (
    CITY,
    Header,
    add,
    counted,
    give,
    header,
    headers,
    mouth,
    ready,
    said,
    totals,
    whole,
)
from tests.kernel.scene import total as total_of
from tests.kernel.tally.service import Given, build
from tests.support.eventually import eventually

TYPE, SOURCE = [header for header in headers() if header[0] != "ce_id"]
CASE = uuid4()
GOOD = Given(case=CASE, city=CITY, at=now(), amount=1).model_dump_json().encode()
KEY = str(CASE).encode()
WRONG = json.dumps({**json.loads(GOOD), "amount": "many"}).encode()
Poison = tuple[str, bytes | None, bytes | None, Sequence[Header]]

POISONS: list[Poison] = [
    ("invalid_event", KEY, b"{not json", headers()),
    ("invalid_event", KEY, WRONG, headers()),
    ("invalid_event", KEY, b"[" * 50_000, headers()),
    ("invalid_event", KEY, b'{"x":"' + b"y" * 200_000 + b'"}', headers()),
    ("invalid_event", KEY, b"z" * 261_900, headers()),
    ("invalid_event", KEY, None, headers()),
    ("invalid_id", KEY, GOOD, [TYPE, SOURCE]),
    ("invalid_id", KEY, GOOD, [TYPE, SOURCE, ("ce_id", b"first")]),
    ("invalid_id", KEY, GOOD, [TYPE, SOURCE, ("ce_id", None)]),
    ("invalid_id", KEY, GOOD, [TYPE, SOURCE, ("ce_id", b"\xff\xfe")]),
    ("invalid_type", KEY, GOOD, []),
    ("invalid_type", KEY, None, []),
    ("invalid_type", KEY, GOOD, [("ce_type", None)]),
    ("invalid_type", KEY, GOOD, [("ce_type", b"cn.jingyi.Given\xff")]),
    ("foreign_source", KEY, GOOD, [TYPE]),
    ("foreign_source", KEY, GOOD, [*headers()[:-1], ("ce_source", b"/jingyi/tally")]),
    ("foreign_source", KEY, GOOD, [*headers()[:-1], ("ce_source", None)]),
    ("foreign_key", str(uuid4()).encode(), GOOD, headers()),
    ("foreign_key", None, GOOD, headers()),
    ("invalid_event", None, b"", headers()),
]


async def test_every_poison_is_put_aside_with_its_reason_and_origin_and_other_cases_flow(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    other = uuid4()
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        sent = [(why, await producer.send_and_wait("tally.given", v, k, headers=h)) for why, k, v, h in POISONS]
        await give(producer, other, 7)
        await counted(settings.kafka, other, 7)
        origins = {f"tally.given/{at.partition}/{at.offset}": why for why, at in sent}

        def ours(found: list[Any]) -> list[Any]:
            return [record for record in found if header(record, "dead_letter_origin") in origins]

        dead = ours(await said(settings.kafka, "tally.given.dlq", lambda found: len(ours(found)) >= len(POISONS)))
        untouched = await total_of(client, CASE)
    reasons = {header(record, "dead_letter_origin"): header(record, "dead_letter_reason") for record in dead}
    assert reasons == origins
    assert all(header(record, "traceparent") for record in dead)
    assert untouched == 0


async def test_a_dead_letter_keeps_the_record_whole_where_it_has_room(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        parent = ("traceparent", f"00-{case.hex}-00000000000000aa-01".encode())
        await give(producer, case, -1, None, parent)
        found = await said(
            settings.kafka, "tally.given.dlq", lambda found: any(r.key == str(case).encode() for r in found)
        )
    [dead] = [record for record in found if record.key == str(case).encode()]
    assert header(dead, "dead_letter_reason") == "negative"
    assert Given.model_validate_json(dead.value).amount == -1
    assert (header(dead, "traceparent") or "").split("-")[1] == case.hex


async def test_a_field_nobody_here_knows_yet_does_not_stop_an_event(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    later = {**json.loads(Given(case=case, city=CITY, at=now(), amount=3).model_dump_json()), "mood": "calm"}
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        value = json.dumps(later).encode()
        await producer.send_and_wait("tally.given", value, str(case).encode(), headers=headers())
        assert totals(await counted(settings.kafka, case, 3)) == [3]


async def test_a_type_nobody_here_waits_for_is_passed_over_unread(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case: UUID = uuid4()
    strange = [("ce_type", Event.type_name().encode()), ("ce_id", b"none")]
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        passed = await producer.send_and_wait("tally.given", b"?", str(case).encode(), headers=strange)
        await give(producer, case, 2)
        await counted(settings.kafka, case, 2)
        found = await whole(settings.kafka, "tally.given.dlq")
    assert f"tally.given/{passed.partition}/{passed.offset}" not in {header(r, "dead_letter_origin") for r in found}


async def test_what_a_handler_cannot_have_now_is_tried_again_while_other_cases_flow(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    waiting, other = uuid4(), uuid4()
    tries: list[Given] = []

    def hear(given: Given) -> None:
        if given.case == waiting and len(tries) < 3:
            tries.append(given)
            raise Unavailable("Something is away.")

    def patient(kit: Kit) -> Service:
        return build(kit, hear)

    patient.__module__ = build.__module__
    async with running_service(patient, settings), mouth(settings.kafka) as producer:
        await ready(client)
        await give(producer, waiting, 4)
        await give(producer, other, 5)
        await counted(settings.kafka, other, 5)
        assert totals(await counted(settings.kafka, waiting, 4)) == [4]
        await add(client, other, 1, "one")

        async def both() -> bool:
            return await total_of(client, waiting) == 4 and await total_of(client, other) == 6

        await eventually(both)
    assert len(tries) == 3


async def test_t2_the_door_of_a_service_that_stands_alone_outlives_its_consumers_crashes(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case, other = uuid4(), uuid4()
    heard: list[int] = []

    def hear(given: Given) -> None:
        if given.case == case:
            heard.append(given.amount)
            raise RuntimeError("a bug")

    def alone(kit: Kit) -> Service:
        return replace(build(kit, hear), alone=lambda: True)

    alone.__module__ = build.__module__
    async with running_service(alone, settings), mouth(settings.kafka) as producer:
        await ready(client)
        sent = await give(producer, case, 4)
        await ready(client, "degraded")
        assert (await add(client, uuid4(), 1, "meanwhile")).is_success
        await give(producer, other, 5)
        await counted(settings.kafka, other, 5, within=60)

        def aside(found: list[Any]) -> bool:
            place = f"tally.given/{sent.partition}/{sent.offset}"
            return [header(r, "dead_letter_reason") for r in found if header(r, "dead_letter_origin") == place] == [
                "crash"
            ]

        await said(settings.kafka, "tally.given.dlq", aside, within=60)
        await ready(client)
    assert len(heard) == CRASHES
