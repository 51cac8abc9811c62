"""One door into a machine: no update is lost, each cause is applied once, and a refusal leaves nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import reduce
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from redis.asyncio import Redis

from deploy.local.ports import free
from deploy.local.valkey import Valkey
from shared.contract.event import DeadlinePassed
from shared.kernel.clock import now, unix_milliseconds
from shared.kernel.errors import Unavailable
from shared.kernel.log.consumer import Consumer
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.log.leases import OutboxLeases
from shared.kernel.log.relay import Relay
from shared.kernel.machine.fingerprint import Fingerprints, KeyReused
from shared.kernel.machine.keeper import REMEMBERED, IdempotencyKey, Keeper
from shared.kernel.machine.machine import Address
from shared.kernel.machine.open_instances import InstanceSnapshot, OpenInstances
from shared.kernel.machine.store import Commit, OutboxRow, Store
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.machine.vault import Vault
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.conftest import speaking
from tests.kernel.scene import CITY, about, add, counted, deaf, give, header, mouth, once, ready, said, total, totals
from tests.kernel.tally.service import MACHINE, Add, Counted, Given, Tally, TooMuch, Waited, build, evolve
from tests.kernel.test_rebuild import stored
from tests.support.eventually import eventually
from tests.support.generations import begin_generation

Rows = list[OutboxRow]


@asynccontextmanager
async def keeping(settings: Settings, rows: Rows | None = None, url: str = "") -> AsyncIterator[Keeper[Tally]]:
    """A keeper of tallies, as one process has it; `rows` gathers what its relay would send."""
    gathered = rows if rows is not None else []
    store = ValkeyStore(url or settings.redis_url, lambda _, __, fresh, *___: gathered.extend(fresh))
    work = asyncio.create_task(store.run())
    await store.load()
    yield Keeper("tally", MACHINE, store, Vault(settings.masters, store), now, lambda *_: None)
    work.cancel()
    await asyncio.wait([work])


def plus(case: UUID, amount: int) -> Add:
    return Add(case=case, city=CITY, amount=amount)


async def kept(settings: Settings) -> dict[Any, Any]:
    """Everything the store has, by name."""
    redis = Redis.from_url(settings.redis_url)
    dump = {name: await redis.dump(name) for name in await redis.keys()}
    await redis.aclose()
    return dump


async def test_two_processes_that_learn_about_one_instance_at_once_lose_no_update(settings: Settings) -> None:
    case, rows = uuid4(), Rows()
    async with keeping(settings, rows) as one, keeping(settings, rows) as two:
        await asyncio.gather(*(k.learn(plus(case, 1), IdempotencyKey(uuid4())) for k in (one, two) for _ in range(40)))
        tally = await one.get(Address(str(case), CITY))
    assert tally is not None
    assert tally.total == 80
    assert tally.seen == tuple(range(1, 81))
    assert sum(row.topic == "tally.counted" for row in rows) == 80


async def test_one_cause_that_reaches_both_processes_at_once_is_applied_once(settings: Settings) -> None:
    case, cause, rows = uuid4(), IdempotencyKey(uuid4()), Rows()
    async with keeping(settings, rows) as one, keeping(settings, rows) as two:
        learned = await asyncio.gather(*(k.learn(plus(case, 7), cause) for k in (one, two) for _ in range(10)))
    assert [each.already_applied for each in learned].count(False) == 1
    assert {each.state.total for each in learned} == {7}
    assert sum(row.topic == "tally.counted" for row in rows) == 1


async def test_a_reply_lost_after_the_commit_is_made_up_by_asking_again(settings: Settings) -> None:
    case, cause, rows = uuid4(), IdempotencyKey(uuid4()), Rows()
    async with deaf(settings.redis_url) as (url, hear), keeping(settings, rows, url) as keeper:
        await keeper.learn(plus(case, 1), IdempotencyKey(uuid4()))
        hear(False)
        with pytest.raises(Unavailable):
            await keeper.learn(plus(case, 5), cause)
        hear(True)
        again = await keeper.learn(plus(case, 5), cause)
        later = await keeper.learn(plus(case, 1), IdempotencyKey(uuid4()))
    assert (again.already_applied, again.state.total, later.state.total) == (True, 6, 7)


async def test_a_refusal_writes_nothing(settings: Settings) -> None:
    case = uuid4()
    async with keeping(settings) as keeper:
        await keeper.learn(plus(case, 1), IdempotencyKey(uuid4()))
        before = await kept(settings)
        for who in (case, uuid4()):
            with pytest.raises(TooMuch):
                await keeper.learn(plus(who, 5000), IdempotencyKey(uuid4()))
    assert await kept(settings) == before


async def test_the_cause_of_a_commit_with_another_body_is_refused_even_by_a_process_that_has_not_seen_it(
    settings: Settings,
) -> None:
    case, cause = uuid4(), uuid4()
    said, other = (Fingerprints(settings.masters).fingerprint(cause, body) for body in (b"a", b"b"))
    async with keeping(settings) as one, keeping(settings) as two:
        await one.learn(plus(case, 1), IdempotencyKey(cause, said))
        with pytest.raises(KeyReused):
            await two.learn(plus(case, 5000), IdempotencyKey(cause, other))
        assert (await two.learn(plus(case, 1), IdempotencyKey(cause, said))).already_applied


async def test_s1_an_act_whose_fingerprint_was_kept_unkeyed_is_no_other_when_it_comes_again(settings: Settings) -> None:
    case, cause = uuid4(), uuid4()
    said = Fingerprints(settings.masters).fingerprint(cause, b"a")
    async with keeping(settings) as keeper:
        await keeper.learn(plus(case, 1), IdempotencyKey(cause, sha256(b"a").hexdigest()[:16]))
        assert (await keeper.learn(plus(case, 1), IdempotencyKey(cause, said))).already_applied


async def test_a_state_that_nobody_can_read_hides_no_other(settings: Settings) -> None:
    good, bad = uuid4(), uuid4()
    async with keeping(settings) as keeper:
        for n, case in enumerate((good, bad), 1):
            await keeper.learn(plus(case, n), IdempotencyKey(uuid4()))
        await keeper.store.ask("HSET", keeper.instance_name(CITY, str(bad)), "s", b'{"total": ')
        assert len(await keeper.listed_states(CITY)) == 1
        assert await OpenInstances(keeper, (CITY,)).read() == {
            Address(str(good), CITY): InstanceSnapshot((await keeper.listed_states(CITY))[0], drill=False, version=b"1")
        }


async def test_the_state_is_the_fold_of_what_was_said(settings: Settings, client: httpx.AsyncClient) -> None:
    case = uuid4()
    async with running_service(build, settings):
        await ready(client)
        for nth in range(6):
            await add(client, case, nth, f"key-{nth}")
        records = once(await counted(settings.kafka, case, 15))
    async with keeping(settings) as keeper:
        tally = await keeper.get(Address(str(case), CITY))
    kinds = {kind.type_name(): kind for kind in (Counted, Waited)}
    events = [kinds[header(r, "ce_type") or ""].model_validate_json(r.value) for r in records]
    assert tally is not None
    assert reduce(evolve, events, Tally()).seen == tally.seen


async def test_learning_the_same_on_a_copy_gives_the_same_event_ids(
    settings: Settings, frail_settings: Settings
) -> None:
    case, causes, here, there = uuid4(), [IdempotencyKey(uuid4()) for _ in range(3)], Rows(), Rows()
    async with keeping(settings, here) as one:
        for cause in causes:
            await one.learn(plus(case, 1), cause)
    await _emptied(settings)
    async with keeping(settings, there) as two:
        for cause in causes:
            await two.learn(plus(case, 1), cause)
    assert [row.headers["ce_id"] for row in here] == [row.headers["ce_id"] for row in there]
    assert len({row.headers["ce_id"] for row in here}) == 3


async def _emptied(settings: Settings) -> None:
    redis = Redis.from_url(settings.redis_url)
    await redis.flushdb()
    await redis.aclose()
    begin_generation(settings.redis_url)


async def test_a_drill_stays_a_drill_from_cause_to_effect_and_through_the_deadline(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    drill, real = uuid4(), uuid4()
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        await give(producer, drill, 3, None, ("ce_drill", b"true"))
        await give(producer, real, 3)
        await counted(settings.kafka, drill, 3)
        await add(client, drill, 1, "later")

        def waited(found: list[Any]) -> bool:
            return sum(header(r, "ce_type") == Waited.type_name() for r in about(found, drill, real)) >= 2

        records = await said(settings.kafka, "tally.counted", waited)
    assert {header(record, "ce_drill") for record in about(records, drill)} == {"true"}
    assert {header(record, "ce_drill") for record in about(records, real)} == {None}


async def test_a_case_is_a_drill_or_not_from_its_opening_whatever_comes_later(settings: Settings) -> None:
    opened_real, opened_drill, rows = uuid4(), uuid4(), Rows()
    async with keeping(settings, rows) as keeper:
        for drill in (False, True):
            await keeper.learn(plus(opened_real, 1), IdempotencyKey(uuid4(), drill=drill))
            await keeper.learn(plus(opened_drill, 1), IdempotencyKey(uuid4(), drill=not drill))
    drills = {(row.key, row.headers.get("ce_drill")) for row in rows}
    assert drills == {(str(opened_real), None), (str(opened_drill), "true")}


async def test_an_event_that_means_nothing_to_an_instance_changes_nothing_of_it(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    other = settings.model_copy(update={"port": free(1)[0], "instance": "other"})
    async with running_service(build, settings), running_service(build, other), speaking(other) as there:
        await ready(client)
        await ready(there)
        await add(client, case, 2, "some")
        assert (await add(there, case, 0, "none")).json() == {"total": 2}
        assert (await add(client, case, 3, "more")).json() == {"total": 5}
        assert await total(there, case) == 5
        assert totals(once(await counted(settings.kafka, case, 5))) == [2, 5]


async def test_a_process_that_has_seen_an_older_state_does_not_overlook_what_concerns_the_newest(
    settings: Settings,
) -> None:
    case, rows = uuid4(), Rows()
    address = Address(str(case), CITY)
    async with keeping(settings, rows) as one, keeping(settings, rows) as two:
        for keeper in (two, one):
            due = (await keeper.learn(plus(case, 1), IdempotencyKey(uuid4()))).state.due
            assert due is not None
            passed = DeadlinePassed(case=case, city=CITY, instance=str(case), home=CITY, due=due)
            await two.learn(passed, IdempotencyKey(uuid4()))
        tally = await one.get(address)
    assert tally is not None
    assert (tally.total, tally.waited) == (2, 2)


async def test_d13_a_wish_to_hear_again_waits_for_partitions_and_outlives_the_consumer(settings: Settings) -> None:
    case, group, heard = uuid4(), f"again-{uuid4().hex[:8]}", list[int]()

    async def hear(event: Given, _: IdempotencyKey) -> None:
        if event.case == case:
            heard.append(event.amount)

    @asynccontextmanager
    async def hearing(store: Store) -> AsyncIterator[Consumer]:
        relay = Relay(KafkaBus(settings.kafka), OutboxLeases(group, "test", ()))
        consumer = Consumer(group, KafkaBus(settings.kafka), {Given: hear}, store, relay)
        if heard:
            consumer.rewind_to(began)
        work = asyncio.create_task(consumer.run())
        yield consumer
        consumer.stop()
        await work

    async def times(count: int) -> None:
        async def so() -> bool:
            return len(heard) == count

        await eventually(so)

    began = unix_milliseconds(now())
    async with stored(settings) as store, mouth(settings.kafka) as producer:
        await give(producer, case, 1)
        async with hearing(store):
            await times(1)
        async with hearing(store):
            await times(2)


async def test_d14_a_process_that_reads_much_remembers_no_more_than_one_that_writes_much(settings: Settings) -> None:
    cases = [uuid4() for _ in range(REMEMBERED + 1)]
    async with keeping(settings) as keeper, Redis.from_url(settings.redis_url) as redis:
        pipeline = redis.pipeline(transaction=False)
        for case in cases:
            pipeline.hset(keeper.instance_name(CITY, str(case)), mapping={"v": 1, "s": "{}", "d": 0})
        await pipeline.execute()
        await asyncio.gather(*(keeper.get(Address(str(case), CITY)) for case in cases[:-1]))
        await keeper.get(Address(str(cases[0]), CITY))
        await keeper.get(Address(str(cases[-1]), CITY))
        remembered = [keeper.latest_state(Address(str(case), CITY)) is not None for case in cases]
    assert (remembered[0], remembered[1], remembered[-1], sum(remembered)) == (True, False, True, REMEMBERED)


async def test_functions_of_an_earlier_release_stay_beside_ours(settings: Settings) -> None:
    """Else a process that is yet to be upgraded calls ours with arguments that mean something else."""
    async with keeping(settings) as keeper:
        earlier = "#!lua name=jingyi\nredis.register_function('learn', function() return 'earlier' end)"
        await keeper.store.ask("FUNCTION", "LOAD", "REPLACE", earlier)
        await keeper.learn(plus(uuid4(), 1), IdempotencyKey(uuid4()))
        assert await keeper.store.ask("FCALL", "learn", 0) == b"earlier"


async def test_t1_after_readonly_it_connects_anew_for_another_may_be_the_primary_by_now(
    settings: Settings, stoppable: Valkey
) -> None:
    case = uuid4()

    async def connection(keeper: Keeper[Tally]) -> int:
        [number] = await keeper.store.write_all([("CLIENT", "ID")])
        return int(number)

    begin_generation(stoppable.url)
    async with keeping(settings, url=stoppable.url) as keeper:
        await keeper.learn(plus(case, 1), IdempotencyKey(uuid4()))
        before = await connection(keeper)
        await keeper.store.ask("REPLICAOF", "127.0.0.1", "1")
        for _ in range(2):
            with pytest.raises(Unavailable, match="READONLY"):
                await keeper.learn(plus(case, 1), IdempotencyKey(uuid4()))
        await keeper.store.ask("REPLICAOF", "NO", "ONE")
        learned = await keeper.learn(plus(case, 1), IdempotencyKey(uuid4()))
        assert (learned.state.total, await connection(keeper) > before) == (2, True)


async def test_d17_a_commit_names_nothing_outside_its_own_hash_slot(settings: Settings) -> None:
    case, rows = uuid4(), Rows()
    async with keeping(settings, rows) as keeper:
        named: list[str] = []
        commit = keeper.store.commit

        async def noted(change: Commit) -> list[bytes]:
            named.extend(change.keys)
            return await commit(change)

        keeper.store.commit = noted  # type: ignore[assignment, method-assign]
        await keeper.learn(plus(case, 1), IdempotencyKey(uuid4()))
        slots = {await keeper.store.ask("CLUSTER", "KEYSLOT", name) for name in named}
    assert (len(named), len(slots)) == (6, 1)
