"""A lost store is made again from the log of record: the same lives, by hash; nothing is said or done a second time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import reduce
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
from aiokafka.admin import NewPartitions
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from uuid_utils.compat import uuid7

from deploy.local import topics
from deploy.local.kafka import kafka as running_kafka
from shared.contract.event import Event
from shared.kernel import clock
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.keeper import NAMES, IdempotencyKey, Keeper
from shared.kernel.machine.shards import shard_of
from shared.kernel.machine.store import OutboxRow, Store
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.machine.vault import Vault
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from shared.kernel.rebuild import rebuild
from shared.kernel.rebuild.comparison import Comparison, compare_with_log
from shared.kernel.rebuild.fold import LoggedEvent, replay_instances
from shared.kernel.rebuild.rebuild import RebuildProgress, ServiceLog
from tests.kernel.conftest import TOPICS, speaking
from tests.kernel.scene import (
    CITY,
    about,
    add,
    counted,
    give,
    header,
    mouth,
    once,
    ready,
    said,
    total,
    totals,
    whole,
)
from tests.kernel.tally.service import MACHINE, Add, Counted, KeepNote, Tally, Waited, build
from tests.support.eventually import eventually
from tests.support.generations import begin_generation


@asynccontextmanager
async def keeping(settings: Settings) -> AsyncIterator[tuple[Keeper[Tally], list[OutboxRow]]]:
    """A keeper without a process around it, and the rows that a relay would send for it."""
    rows: list[OutboxRow] = []
    store = ValkeyStore(settings.redis_url, lambda _, __, fresh, *___: rows.extend(fresh))
    work = asyncio.create_task(store.run())
    await store.load()
    yield Keeper("tally", MACHINE, store, Vault(settings.masters, store), clock.now, lambda *_: None), rows
    work.cancel()
    await asyncio.wait([work])


@asynccontextmanager
async def stored(settings: Settings) -> AsyncIterator[Store]:
    store = ValkeyStore(settings.redis_url, lambda *_: None)
    work = asyncio.create_task(store.run())
    await store.load()
    yield store
    work.cancel()
    await asyncio.wait([work])


def quiet(_: RebuildProgress) -> None:
    """Nobody listens."""


async def compared(settings: Settings) -> Comparison:
    async with stored(settings) as store:
        return await compare_with_log(
            ServiceLog.for_service(build, settings, store), KafkaBus(settings.kafka), store, quiet
        )


async def rebuilt(settings: Settings, epoch: int = 1) -> RebuildProgress:
    async with stored(settings) as store:
        await rebuild.restore_keys(KafkaBus(settings.kafka), store, quiet)
        done = await rebuild.rebuild_service(
            ServiceLog.for_service(build, settings, store), KafkaBus(settings.kafka), store, epoch, quiet
        )
    begin_generation(settings.redis_url)
    return done


async def emptied(settings: Settings) -> None:
    async with Redis.from_url(settings.redis_url) as redis:
        await redis.flushdb()


async def note(client: httpx.AsyncClient, case: UUID) -> httpx.Response:
    body = {"name": "王小明", "phone": "13935401234", "address": "迎宾街", "answers": {}}
    path = f"/cities/{CITY}/tallies/{case}/notes"
    return await client.post(path, json=body, headers={"idempotency-key": "note"})


async def test_an_emptied_store_is_made_again_and_the_service_goes_on_where_it_was(settings: Settings) -> None:
    case = uuid4()
    async with running_service(build, settings), speaking(settings) as client:
        await ready(client)
        for amount in (1, 2, 3):
            await add(client, case, amount, f"{amount}")
        assert (await note(client, case)).status_code == 201
        await waited_for(settings, case)
    before = await compared(settings)
    assert str(case) not in before.differing
    await emptied(settings)
    assert (await compared(settings)).differing[str(case)] == "not in the store"
    done = await rebuilt(settings)
    assert str(case) not in done.unread + done.torn + done.already_stored
    after = await compared(settings)
    assert (after.equal, after.differing) == (True, {})
    assert after.log == before.log
    async with running_service(build, settings), speaking(settings) as client:
        await ready(client)
        assert (await shown(client, case))["notes"]
        assert (await add(client, case, 4, "4")).json() == {"total": 10}


async def test_what_was_said_before_is_not_said_again_and_a_cause_of_then_is_known(settings: Settings) -> None:
    case, event = uuid4(), str(uuid4())
    async with running_service(build, settings), speaking(settings) as client, mouth(settings.kafka) as producer:
        await ready(client)
        await give(producer, case, 5, event)
        await counted(settings.kafka, case, 5)
        assert (await add(client, case, 1, "once")).json() == {"total": 6}
        await waited_for(settings, case)
    said = len(about(await whole(settings.kafka, "tally.counted"), case))
    await emptied(settings)
    await rebuilt(settings)
    async with running_service(build, settings), speaking(settings) as client, mouth(settings.kafka) as producer:
        await ready(client)
        await give(producer, case, 5, event)
        assert (await add(client, case, 1, "once")).json() == {"total": 6}
        assert (await add(client, case, 2, "once")).json() == {"total": 6}, "a body is not in the log: any is taken"
        await asyncio.sleep(1)
        assert await total(client, case) == 6
    assert len(about(await whole(settings.kafka, "tally.counted"), case)) == said


async def test_d5_a_drill_of_the_day_before_is_not_brought_back_and_no_drill_is_compared(settings: Settings) -> None:
    past, young, real = uuid4(), uuid4(), uuid4()
    yesterday = clock.now() - timedelta(days=1, hours=1)
    async with keeping(settings) as (keeper, rows):
        for case, at, drill in ((past, yesterday, True), (young, clock.now(), True), (real, yesterday, False)):
            keeper.now = at.replace
            note = KeepNote(case=case, city=CITY, note="sealed")
            await keeper.learn(note, IdempotencyKey(uuid4(), drill=drill))
    async with mouth(settings.kafka) as producer, Redis.from_url(settings.redis_url) as redis:
        for row in rows:
            named = [(name, text.encode()) for name, text in row.headers.items()]
            await producer.send_and_wait(row.topic, row.value, key=row.key.encode(), headers=named)
        names = {case: f"{shard_of(CITY)}:tally:tally:{CITY}:{case}" for case in (past, young, real)}
        await redis.flushdb()
        await rebuilt(settings, round(clock.now().timestamp()))
        assert [await redis.ttl(names[case]) for case in (past, young, real)] == [-2, 86400, -1]
        await redis.delete(names[young])
        assert not {str(past), str(young), str(real)} & (await compared(settings)).differing.keys()


async def test_a_rebuilt_deadline_still_fires_and_a_rebuilt_list_has_its_order(settings: Settings) -> None:
    case = uuid4()
    async with keeping(settings) as (keeper, rows):
        await keeper.learn(Add(case=case, city=CITY, amount=1), IdempotencyKey(uuid4()))
    async with mouth(settings.kafka) as producer, Redis.from_url(settings.redis_url) as redis:
        for row in rows:
            named = [(name, text.encode()) for name, text in row.headers.items()]
            await producer.send_and_wait(row.topic, row.value, key=row.key.encode(), headers=named)
        before = await times(redis, case)
        await redis.flushdb()
        await rebuilt(settings)
        assert await times(redis, case) == before
    async with running_service(build, settings), speaking(settings) as client:
        await ready(client)

        async def fired() -> bool:
            return int((await shown(client, case))["waited"]) == 1

        await eventually(fired)


async def test_t11_a_case_that_lies_in_two_partitions_is_folded_in_the_order_of_its_own_events(
    settings: Settings, tmp_path: Path
) -> None:
    cases = [uuid4() for _ in range(8)]
    async with running_kafka(tmp_path / "spread") as cluster:
        there = settings.model_copy(update={"kafka": cluster.bootstrap})
        await topics.create(cluster.bootstrap, TOPICS)
        for amount in (1, 2):
            async with running_service(build, there), speaking(there) as client:
                await ready(client, "ready", "degraded")
                for case in cases:
                    await add(client, case, amount, f"{amount}")
                    await waited_for(there, case, times=amount)
            if amount == 1:
                async with topics.administrator(cluster.bootstrap) as admin:
                    await admin.create_partitions({"tally.counted": NewPartitions(16)})
        found = about(await whole(there.kafka, "tally.counted"), *cases)
        assert len({(record.key, record.partition) for record in found}) > len(cases)
        before = await compared(there)
        assert (before.equal, before.differing) == (True, {})
        await emptied(there)
        done = await rebuilt(there)
        assert (done.torn, done.unread) == ([], [])
        assert (await compared(there)).equal


async def test_an_instance_that_lives_in_the_store_is_left_as_it_is(settings: Settings) -> None:
    case = uuid4()
    async with running_service(build, settings), speaking(settings) as client:
        await ready(client)
        await add(client, case, 1, "first")
        await waited_for(settings, case)
        done = await rebuilt(settings)
        assert str(case) in done.already_stored
        assert (await add(client, case, 1, "second")).json() == {"total": 2}


async def test_what_no_machine_of_the_service_said_is_left_out_and_named(settings: Settings) -> None:
    await left_out_and_named(settings, "tally", uuid4())


async def test_s6_what_another_service_said_is_left_out_and_named(settings: Settings) -> None:
    case, cause = uuid4(), uuid4()
    await left_out_and_named(settings, "giver", uuid5(NAMES, f"tally|{case}|{cause}|0"), case, cause)


async def left_out_and_named(
    settings: Settings, source: str, event_id: UUID, case: UUID | None = None, cause: UUID | None = None
) -> None:
    case = case or uuid4()
    forged = Counted(case=case, city=CITY, at=clock.now(), total=99)
    named = {"ce_type": forged.type_name(), "ce_sequence": "0000000100", "ce_source": f"/jingyi/{source}"}
    named |= {"ce_id": str(event_id), "ce_cause": str(cause or uuid4())}
    headers = [(name, text.encode()) for name, text in named.items()]
    async with mouth(settings.kafka) as producer:
        value = forged.model_dump_json().encode()
        sent = await producer.send_and_wait("tally.counted", value, key=str(case).encode(), headers=headers)
    done = await rebuilt(settings)
    assert f"{sent.topic}/{sent.partition}/{sent.offset}" in done.unread
    async with Redis.from_url(settings.redis_url) as redis:
        assert not await redis.keys(f"*{case}*")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_however_the_log_repeats_and_shuffles_a_history_it_folds_to_the_state_that_was(amounts, random) -> None:  # type: ignore[no-untyped-def]
    said, state, version = history(amounts)
    log = said + random.choices(said, k=len(said)) if said else []
    random.shuffle(log)
    unread: list[str] = []
    found = list(replay_instances([MACHINE], log, unread))
    assert unread == []
    assert [(life.state, life.version, life.missing, life.impossible) for life in found] == (
        [(state, version, 0, 0)] if said else []
    )


def history(amounts: list[int]) -> tuple[list[LoggedEvent], Tally, int]:
    """What a tally says of these amounts (0 says nothing, 3 twice in one commit), and what it is then."""
    state, version, said, case = MACHINE.blank, 0, list[LoggedEvent](), uuid4()
    for amount in amounts:
        cause = uuid4()
        events: list[Event] = [
            Counted(case=case, city=CITY, at=clock.now(), total=state.total + amount) for _ in range((amount + 1) // 2)
        ]
        version += bool(events)
        state = reduce(MACHINE.evolve, events, state)
        said += [
            LoggedEvent(
                f"{version}/{n}",
                Counted,
                str(uuid5(NAMES, f"tally|{case}|{cause}|{n}")),
                str(cause),
                f"{version:08d}{n:02d}",
                False,
                event.model_dump_json().encode(),
            )
            for n, event in enumerate(events)
        ]
    return said, state, version


def test_a_commit_that_the_log_lacks_is_counted() -> None:
    said, _, _ = history([1, 1, 1])
    [life] = replay_instances([MACHINE], [said[0], said[2]], [])
    assert (life.version, life.missing) == (3, 1)


async def times(redis: Any, case: UUID) -> list[Any]:
    """When it is due, and since when it is listed."""
    shard = shard_of(CITY)
    return [
        await redis.zscore(f"{shard}:tally:due", f"tally|{CITY}|{CITY}|{case}"),
        await redis.zscore(f"{shard}:tally:tally:{CITY}:listed", str(case)),
    ]


async def shown(client: httpx.AsyncClient, case: UUID) -> dict[str, Any]:
    tally: dict[str, Any] = (await client.get(f"/cities/{CITY}/tallies/{case}")).json()
    return tally


async def waited_for(settings: Settings, case: UUID, times: int = 1) -> None:
    """Its last word, the one that its deadline says, has reached the log."""

    def so(found: list[Any]) -> bool:
        said = [record for record in about(found, case) if header(record, "ce_type") == Waited.type_name()]
        return len(once(said)) >= times

    await said(settings.kafka, "tally.counted", so)


async def test_over_an_emptied_store_no_old_life_begins_anew_and_new_ones_begin(settings: Settings) -> None:
    old = uuid7()
    async with (
        running_service(build, settings),
        speaking(settings) as client,
        Redis.from_url(settings.redis_url) as redis,
    ):
        await ready(client)
        assert (await add(client, old, 5, "first")).json() == {"total": 5}
        await waited_for(settings, old)
        await asyncio.sleep(1.1)
        await redis.flushdb()
        await ready(client, "degraded")
        assert (await add(client, old, 1, "second")).status_code == 503
        assert (await client.get(f"/cities/{CITY}/tallies/{old}")).status_code == 503
        assert (await add(client, uuid7(), 1, "new")).json() == {"total": 1}
        await rebuilt(settings)
        await ready(client)
        assert (await add(client, old, 1, "second")).json() == {"total": 6}


async def test_what_was_learnt_and_not_yet_said_when_the_store_was_lost_is_heard_again_once(settings: Settings) -> None:
    case, event, lease = uuid7(), str(uuid4()), f"{shard_of(CITY)}:tally:lease"
    async with Redis.from_url(settings.redis_url) as redis, mouth(settings.kafka) as producer:
        await redis.set(lease, "nobody-relays", px=60_000)
        async with running_service(build, settings), speaking(settings) as client:
            await ready(client)
            await give(producer, case, 5, event)

            async def learnt() -> bool:
                return bool((await client.get(f"/cities/{CITY}/tallies/{case}")).json().get("total") == 5)

            await eventually(learnt)
            await asyncio.sleep(0.6)
            await redis.flushdb()
            await ready(client, "degraded")
            await rebuilt(settings)
            await eventually(learnt)
            await give(producer, case, 5, event)
            await give(producer, case, 1)
            assert totals(once(await counted(settings.kafka, case, 6))) == [5, 6]
