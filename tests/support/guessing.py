"""Whoever has the store, the log and the journal's file, no key, and a list of all that may have been said."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, NAMESPACE_OID, NAMESPACE_URL, uuid3, uuid5

from redis.asyncio import Redis

from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.keeper import NAMES
from shared.kernel.process.web import request_id

HASHES = ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s")
HEX, BASE64 = 14, 10
"""Digits of a hash that are recognised, wherever it is cut off after them."""


def recovered(written: Iterable[bytes], candidates: Iterable[bytes], path: str = "") -> list[bytes]:
    """Those candidates of which an unkeyed hash, or an id made of one, stands somewhere in what was written.

    `path`: where an act was put that had no Idempotency-Key.
    """
    marks = {mark for part in written for mark in _marks(part)}
    return [said for said in candidates if not marks.isdisjoint(_hashed(said, path))]


def spellings(body: dict[str, Any]) -> set[bytes]:
    """The ways in which programs write this object."""
    separators = ((",", ":"), (", ", ": "))
    return {
        json.dumps(body, separators=pair, sort_keys=ordered, ensure_ascii=False).encode()
        for pair in separators
        for ordered in (False, True)
    }


async def everything(redis_url: str, kafka: str, topics: list[str], folder: Path) -> list[bytes]:
    """Each name, field and value of the store, each key, header and value of the log, each file of the folder."""
    files = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    return [*await stored(redis_url), *await _logged(kafka, topics), *files]


async def stored(redis_url: str) -> list[bytes]:
    """All that the store has: names, and values in parts, or as it would write them to disk."""
    redis = Redis.from_url(redis_url)
    found: list[Any] = [name async for name in redis.scan_iter("*")]
    for name in list(found):
        match await redis.type(name):
            case b"hash":
                found += [part for pair in (await redis.hgetall(name)).items() for part in pair]
            case b"stream":
                rows: Any = await redis.xrange(name)
                found += [part for _, row in rows for pair in row.items() for part in pair]
            case b"zset":
                found += await redis.zrange(name, 0, -1)
            case b"string":
                found.append(await redis.get(name))
            case _:
                found.append(await redis.dump(name))
    await redis.aclose()
    return [part for part in found if part]


async def _logged(kafka: str, topics: list[str]) -> list[bytes]:
    reader = KafkaBus(kafka).reader(*topics)
    await reader.start()
    found: list[bytes | None] = []
    try:
        ends = await reader.end_offsets(reader.assignment())
        while any([await reader.position(partition) < end for partition, end in ends.items()]):
            for records in (await reader.getmany(timeout_ms=200)).values():
                for record in records:
                    found += [record.key, record.value, *(part for _, part in record.headers)]
    finally:
        await reader.stop()
    return [part for part in found if part]


def _marks(written: bytes) -> Iterator[str]:
    text = written.decode(errors="replace")
    for run in re.findall(rf"[0-9a-f]{{{HEX},}}", text.replace("-", "").lower()):
        yield from (run[at : at + HEX] for at in range(len(run) - HEX + 1))
    for run in re.findall(rf"[A-Za-z0-9+/]{{{BASE64},}}", text.translate(str.maketrans("-_", "+/"))):
        yield from (run[at : at + BASE64] for at in range(len(run) - BASE64 + 1))


def _hashed(said: bytes, path: str) -> Iterator[str]:
    for name in HASHES:
        digest = hashlib.new(name, said).digest()
        yield digest.hex()[:HEX]
        yield base64.b64encode(digest).decode()[:BASE64]
    for space in (NAMES, NAMESPACE_DNS, NAMESPACE_OID, NAMESPACE_URL):
        yield uuid5(space, said.decode()).hex[:HEX]
        yield uuid3(space, said.decode()).hex[:HEX]
    if path:
        yield request_id("seat-1", "PUT", path, hashlib.sha256(said).hexdigest()[:16]).hex[:HEX]
