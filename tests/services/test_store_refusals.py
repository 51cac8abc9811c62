"""A store that answers "no": nothing ends, F9 and danger answers are taken, who waits is rung, and it mends itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis
from uuid_utils.compat import uuid7

from deploy.local.valkey import Valkey
from shared.kernel.process.settings import Settings
from tests.services.test_journal_intake import intake, store
from tests.services.test_journal_intake import settings as settings
from tests.support.eventually import eventually

__all__ = ["store"]

REFUSALS = {
    "OOM": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "READONLY": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "MASTERDOWN": (
        ("CONFIG", "SET", "replica-serve-stale-data", "no"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("REPLICAOF", "NO", "ONE"),
    ),
    "NOREPLICAS": (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
    "NOPERM to write": (("ACL", "SETUSER", "default", "-@write"), ("ACL", "SETUSER", "default", "+@all")),
    "NOPERM at all": (("ACL", "SETUSER", "default", "-@all", "+acl"), ("ACL", "SETUSER", "default", "+@all")),
}


@contextmanager
def refusing(server: Valkey, how: str) -> Iterator[None]:
    """The store takes no write inside; an administrator can still talk to it."""
    *begin, end = REFUSALS[how]
    client: Any = Redis.from_url(server.url)
    with client:
        for command in begin:
            client.execute_command(*command)
        try:
            yield
        finally:
            client.execute_command(*end)


@pytest.mark.parametrize("how", REFUSALS)
async def test_t1_a_store_that_says_no_keeps_no_cry_from_being_taken_and_rung(
    settings: Settings, store: Valkey, how: str
) -> None:
    before, during = uuid7(), uuid7()
    async with intake(settings) as seats:

        async def rings_from_memory() -> bool:
            return bool(await seats.alarms(before))

        async def learnt() -> bool:
            return await seats.phase(during) == "ringing" and await seats.ready() == 200

        assert (await seats.presses_f9(before)).status_code == 201
        with refusing(store, how):
            kept = await seats.presses_f9(during)
            assert kept.is_success
            assert (await seats.saves_danger(during)).is_success
            await eventually(rings_from_memory)
            assert await seats.alarms(during)
            assert "store" in (await seats.client.get("/health/ready")).json()["away"]
        await eventually(learnt)
        assert (await seats.presses_f9(uuid7())).status_code == 201


@pytest.mark.parametrize("how", REFUSALS)
async def test_t1_an_intake_that_starts_while_the_store_says_no_opens_its_door(
    settings: Settings, store: Valkey, how: str
) -> None:
    case = uuid7()
    with refusing(store, how):
        async with intake(settings) as seats:
            assert (await seats.presses_f9(case)).is_success
    async with intake(settings) as seats:
        await eventually(lambda: _known(seats, case))


async def _known(seats: Any, case: Any) -> bool:
    return await seats.phase(case) is not None
