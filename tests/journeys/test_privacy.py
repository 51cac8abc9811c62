"""What a counsellor writes down is in plain nowhere but at the desk: not on Kafka, in Valkey, in logs or in spans."""

import asyncio
import json
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from deploy.cli.client import INTAKE, Client, call_path
from deploy.local import topics
from deploy.local.system import DESKS
from shared.contract.terms import Brief
from shared.kernel.log.kafka import KafkaBus
from tests.journeys.world import CITY, Incident, World

NUMBER = "13877712399"
ADDRESS = "隐秘路77号隐秘小区"
NOTE = "planted-note-别告诉任何人"
BRIEF = {name: f"planted-{name}-隐秘" for name in Brief.model_fields} | {"callback": NUMBER}
ANSWERS = {"cssrs-screener/1": {"1": True, "2": False, "6_lifetime": False}, "acute-criteria/1": {"in_progress": True}}
UNSAID = ("6_lifetime", '"answers":{', "answers': {")
"""Marks of answers in plain: an item answered no is never a reason, so that its name has no business anywhere."""

PLANTED = (NUMBER, "隐秘", "planted-", *UNSAID)
NEEDLES = {form for word in PLANTED for form in (word.encode(), json.dumps(word)[1:-1].encode())}


def found(haystack: bytes) -> list[str]:
    """What of the planted is in there, as it is or as JSON escapes it."""
    return sorted(needle.decode() for needle in NEEDLES if needle in haystack)


async def test_nothing_personal_is_in_plain_anywhere_but_at_the_desk(world: World) -> None:
    async with world.call() as incident:
        await everything_is_written_down(incident)
        await incident.both_desks_clear()
        await incident.closes()
        await bad_requests_repeat_nothing(world, incident)
        await world.running.until_ready(INTAKE)
        await asyncio.sleep(2)  # spans leave their process once a second
        assert await on_kafka(world) == []
        assert await in_valkey(world) == []
        assert await asyncio.to_thread(in_files, world.running.state) == {}
        await the_counsellor_and_the_desks_can_read_it(incident)


async def everything_is_written_down(incident: Incident) -> None:
    await incident.opens(caller=NUMBER)
    await incident.is_at(ADDRESS)
    await incident.writes("briefs", **BRIEF)
    await incident.saves(ANSWERS)
    await incident.writes("escalations", reason=NOTE)


async def bad_requests_repeat_nothing(world: World, incident: Incident) -> None:
    """What is refused, or ignored, is not echoed in the answer either."""
    path = call_path(CITY, incident.case)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("places", {"confidence": ADDRESS, "text": ADDRESS}),
        ("briefs", {NOTE: NOTE, "name": [NOTE]}),
        ("screenings", {"answers": {NOTE: {NOTE: True}}}),
        ("escalations", {"desks": [NOTE], "reason": NOTE}),
        ("end", {"how": NOTE}),
    ]
    for what, body in wrong:
        answered = await raw(world.client, f"{path}/{what}", body)
        assert answered.status_code == (201 if what == "escalations" else 422)  # of F9 it is ignored
        assert found(answered.content.replace(b"body.planted-", b"")) in ([], ["planted-"]), answered.text


async def raw(client: Client, path: str, body: dict[str, Any]) -> Any:
    headers = {"authorization": f"Bearer {client.where.token}", "x-actor": "seat-1", "idempotency-key": path + "-x"}
    return await client.http.post(f"{client.where.urls[INTAKE]}{path}", json=body, headers=headers)


async def on_kafka(world: World) -> list[str]:
    """Every key, header and value of every topic, dead letters and wrapped keys included."""
    names = [topic.name for topic in topics.listed()]
    reader = KafkaBus(world.running.kafka).reader(*names)
    await reader.start()
    try:
        partitions = reader.assignment()
        ends = await reader.end_offsets(partitions)
        assert sum(ends.values()) > 20
        hits: list[str] = []
        while any([await reader.position(partition) < end for partition, end in ends.items()]):
            for records in (await reader.getmany(timeout_ms=500)).values():
                for record in records:
                    headers = b"".join(name.encode() + value for name, value in record.headers)
                    hits += found((record.key or b"") + headers + (record.value or b""))
    finally:
        await reader.stop()
    return hits


async def in_valkey(world: World) -> list[str]:
    """Every key with all its fields and values, as the store itself dumps it and as it reads."""
    store = Redis.from_url(world.running.redis_url)
    try:
        keys: list[bytes] = [key async for key in store.scan_iter()]
        assert len(keys) > 4
        return [hit for key in keys for hit in found(key + await content(store, key))]
    finally:
        await store.aclose()


async def content(store: Any, key: bytes) -> bytes:
    match await store.type(key):
        case b"string":
            return bytes(await store.get(key) or b"")
        case b"hash":
            return b"".join(name + value for name, value in (await store.hgetall(key)).items())
        case b"zset":
            return b"".join(await store.zrange(key, 0, -1))
        case b"set":
            return b"".join(await store.smembers(key))
        case b"list":
            return b"".join(await store.lrange(key, 0, -1))
        case b"stream":
            return repr(await store.xrange(key)).encode()
    return b""


def in_files(state: Path) -> dict[str, list[str]]:
    """Every file there is: Valkey's log, Kafka's segments, the services' and desks' logs, the collected spans.

    Kafka keeps room in its indexes: 2 GB of zeros after what is written.
    """
    files = [file for file in state.rglob("*") if file.is_file()]
    assert {"logs", "valkey", "kafka", "traces", "desks"} <= {file.relative_to(state).parts[0] for file in files}
    hits = {str(file.relative_to(state)): found(file.read_bytes().rstrip(b"\0")) for file in files}
    return {file: words for file, words in hits.items() if words}


async def the_counsellor_and_the_desks_can_read_it(incident: Incident) -> None:
    """It was there to be found: the seat reads it back, and each desk got the fields of its kind."""
    file = await incident.by("seat-1").get(INTAKE, call_path(CITY, incident.case))
    assert (file["caller"], file["place_text"], file["brief"]) == (NUMBER, ADDRESS, BRIEF)
    fields = {}
    for desk in DESKS:
        lines = (await incident.world.client.desk(desk, f"/log?key={incident.case}/{DESKS[desk]}/1"))["lines"]
        [fields[desk]] = [line["brief_fields"] for line in lines if line["what"] == "incident"]
    assert "name" in fields["desk_110"]
    assert "name" not in fields["desk_120"]
    assert {"substance", "dose"} <= set(fields["desk_120"])
