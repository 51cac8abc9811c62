"""A dead letter is told again to the service that could not understand it: once, under its own id, and said so."""

from uuid import UUID, uuid4

from uuid_utils import uuid7

from shared.contract.calls import EscalationRequested
from shared.contract.terms import Situation
from shared.kernel.clock import now
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.cloudevent import source_of
from tests.journeys.world import CITY, World, eventually

Header = tuple[str, bytes]


async def put_aside(world: World, value: bytes, case: UUID | None, *headers: Header) -> str:
    """A dead letter of dispatch; its place."""
    aside = [("dead_letter_reason", b"crash"), ("dead_letter_service", b"dispatch")]
    key = str(case).encode() if case else None
    async with KafkaBus(world.where.kafka).producer() as producer:
        sent = await producer.send_and_wait("hotline.calls.dlq", value, key=key, headers=[*headers, *aside])
    return f"{sent.topic}/{sent.partition}/{sent.offset}"


def escalation(case: UUID) -> tuple[bytes, list[Header]]:
    asked = EscalationRequested(case=case, city=CITY, at=now(), by="seat-1", situation=Situation())
    headers = {"ce_type": asked.type_name(), "ce_id": str(uuid4()), "ce_partitionkey": str(case), "ce_city": CITY}
    headers["ce_source"] = source_of(asked.service)
    return asked.model_dump_json().encode(), [(name, text.encode()) for name, text in headers.items()]


async def test_a_letter_whose_reason_is_mended_is_learnt_and_then_never_told_again(world: World) -> None:
    case = UUID(str(uuid7()))
    value, headers = escalation(case)
    where = await put_aside(world, value, case, *headers, ("dead_letter_origin", b"hotline.calls/0/0"))
    assert "replayed" not in await lines_about(world, where)
    code, said = await world.jingyi("dead-letters", "replay", where)
    assert (code, "learnt" in said) == (0, True), said
    await eventually(lambda: opened(world, case), 15)
    assert "replayed: learnt" in await lines_about(world, where)
    assert where not in (await world.jingyi("dead-letters", "replay", "--all"))[1]


async def test_a_letter_that_still_cannot_be_understood_says_why_and_stays_open(world: World) -> None:
    case = UUID(str(uuid7()))
    _, headers = escalation(case)
    where = await put_aside(world, b'{"case": 1}', case, *headers, ("dead_letter_origin", b"hotline.calls/0/0"))
    for _ in range(2):
        code, said = await world.jingyi("dead-letters", "replay", where)
        assert (code, "refused: invalid_event" in said) == (1, True), said


async def test_a_letter_that_names_only_its_origin_is_fetched_from_there(world: World) -> None:
    case = UUID(str(uuid7()))
    value, headers = escalation(case)
    async with KafkaBus(world.where.kafka).producer() as producer:
        lies = await producer.send_and_wait("hotline.calls", value, key=str(case).encode(), headers=headers)
    origin = f"{lies.topic}/{lies.partition}/{lies.offset}".encode()
    where = await put_aside(world, b"", None, ("dead_letter_origin", origin))
    code, said = await world.jingyi("dead-letters", "replay", where)
    assert (code, "learnt" in said) == (0, True), said


async def test_a_letter_that_nobody_wrote_is_not_there(world: World) -> None:
    code, said = await world.jingyi("dead-letters", "replay", "hotline.calls.dlq/0/999999")
    assert (code, "There is no dead letter" in said) == (1, True)


async def lines_about(world: World, where: str) -> str:
    _, said = await world.jingyi("dead-letters", "list")
    return said[said.index(where) :].split("hotline.calls.dlq/")[1]


async def opened(world: World, case: UUID) -> bool:
    code, _ = await world.jingyi("incident", str(case))
    return code == 0
