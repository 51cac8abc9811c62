"""What the kernel relies on in its store, held by the real Valkey and by the simulated one."""

import asyncio
from uuid import uuid4

import pytest

from shared.kernel.errors import Unavailable
from shared.kernel.machine.shards import generation_name
from shared.kernel.machine.store import Commit, FunctionsLost, OutboxRow
from tests.simulation.contract.conftest import Kept

GENERATION = generation_name("{s01}")
NAMES = ("{s01}:x:m:1:a", "{s01}:x:outbox", "{s01}:x:due", "{s01}:x:m:1:listed", "{s01}:key:a", GENERATION)
ROW = OutboxRow("topic", "a", {"ce_type": "cn.jingyi.Said"}, b"{}")


def commit(version: int = 0, cause: str = "c1", rows: int = 1, state: bytes = b"{}", **more: object) -> Commit:
    told = (
        version,
        cause,
        more.get("print", "p"),
        state,
        more.get("drill", 0),
        more.get("instance", "a"),
        "m|1|1|a",
        more.get("due", ""),
        more.get("since", ""),
    )
    parts = [part for _ in range(rows) for part in (ROW.topic, ROW.key, '{"ce_type": "cn.jingyi.Said"}', ROW.value)]
    return Commit("{s01}", NAMES, (*told, more.get("key", b""), more.get("actor", ""), *parts), (ROW,) * rows)  # type: ignore[arg-type]


async def outbox(kept: Kept, first: str | bytes = "-", last: str | bytes = "+") -> list[bytes]:
    entries = await kept.store.ask("XRANGE", NAMES[1], first, last, "COUNT", 100)
    assert all(OutboxRow.from_fields(fields).topic == "topic" for _, fields in entries)
    return [place for place, _ in entries]


async def test_what_commits_lies_in_the_outbox_and_is_told_in_the_order_of_the_commits(kept: Kept) -> None:
    await asyncio.gather(*(kept.store.commit(commit(n, f"c{n}", rows=n + 1)) for n in range(3)))
    assert [len(rows) for _, _, rows, _ in kept.told] == [1, 2, 3]
    assert [place for _, ids, _, _ in kept.told for place in ids] == await outbox(kept)


async def test_a_known_cause_changes_nothing_and_says_with_what_it_came_first(kept: Kept) -> None:
    await kept.store.commit(commit(state=b"first"))
    assert await kept.store.commit(commit(1, print="q")) == [b"KNOWN", b"1", b"first", b"0", b"p"]
    assert len(await outbox(kept)) == len(kept.told) == 1


async def test_a_commit_on_an_old_version_is_told_the_newest_and_leaves_no_trace(kept: Kept) -> None:
    await kept.store.commit(commit(state=b"first"))
    assert await kept.store.commit(commit(0, "c2")) == [b"STALE", b"1", b"first", b"0"]
    assert await kept.store.ask("HMGET", NAMES[0], "v", "i:c2") == [b"1", None]


async def test_a_cause_without_events_is_remembered_and_moves_no_version(kept: Kept) -> None:
    assert await kept.store.commit(commit(rows=0, state=b"")) == [b"OK"]
    assert await kept.store.ask("HMGET", NAMES[0], "v", "s", "i:c1") == [None, None, b"p"]


async def test_s9_of_the_causes_that_moved_nothing_only_the_newest_are_remembered(kept: Kept) -> None:
    await kept.store.commit(commit(cause="moved"))
    for n in range(520):
        await kept.store.commit(commit(1, f"c{n}", rows=0, state=b""))
    known = await kept.store.ask("HMGET", NAMES[0], "i:moved", "i:c0", "i:c7", "i:c8", "i:c519")
    assert known == [b"p", None, None, b"p", b"p"]
    assert len(await kept.store.ask("HGETALL", NAMES[0])) // 2 == 3 + 1 + 1 + 2 * 512
    assert (await kept.store.commit(commit(1, "c8")))[0] == b"KNOWN"


async def test_s9_whoever_moves_an_instance_without_end_is_stopped_and_nobody_else_is(kept: Kept) -> None:
    async def move(n: int, cause: str, actor: str) -> bytes:
        return (await kept.store.commit(commit(n, cause, actor=actor)))[0]

    assert {await move(n, f"c{n}", "desk") for n in range(2000)} == {b"OK"}
    assert await move(2000, "more", "desk") == b"MANY"
    assert await move(2000, "c7", "desk") == b"KNOWN"
    assert [await move(2000, "f9", ""), await move(2001, "other", "seat-1")] == [b"OK", b"OK"]


async def test_d5_a_drill_that_waits_for_nothing_is_gone_after_a_day_and_nothing_else_is(kept: Kept) -> None:
    async def goes_in() -> list[int]:
        return [await kept.store.ask("TTL", NAMES[at]) for at in (0, 4)]

    await kept.store.commit(commit(drill=1, key=b"k1", due=5000))
    assert await goes_in() == [-1, 86400]
    await kept.store.commit(commit(1, "c2", drill=1))
    assert await goes_in() == [86400, 86400]
    await kept.store.ask("DEL", NAMES[0], NAMES[4])
    await kept.store.commit(commit(cause="c3", key=b"k1"))
    assert await goes_in() == [-1, -1]


async def test_d5_a_restored_drill_goes_as_if_it_had_been_learnt(kept: Kept) -> None:
    for due, goes_in in ((5000, -1), ("", 86400)):
        told = (NAMES[0], NAMES[2], NAMES[3], 4, b"{}", 1, "a", "m|1|1|a", due, "", "p")
        assert await kept.store.ask("FCALL", "restore_2", 3, *told) == 1
        assert await kept.store.ask("TTL", NAMES[0]) == goes_in
        await kept.store.ask("DEL", NAMES[0])


async def test_the_first_key_of_a_case_stays(kept: Kept) -> None:
    await kept.store.commit(commit(key=b"k1"))
    assert await kept.store.commit(commit(1, "c2", key=b"k2")) == [b"KEY"]
    assert (await kept.store.commit(commit(1, "c3", key=b"k1")))[0] == b"OK"
    assert await kept.store.ask("GET", NAMES[4]) == b"k1"


async def test_in_an_emptied_store_nothing_begins_anew_that_may_have_lived_before(kept: Kept) -> None:
    before, after = "019a0000-0000-7000-8000-000000000000", "019b0000-0000-7000-8000-000000000000"
    await kept.store.ask("SET", GENERATION, f"lost:{0x019A_FFFF_FFFF}")
    with pytest.raises(Unavailable):
        await kept.store.commit(commit(instance=before))
    assert (await kept.store.commit(commit(instance=after)))[0] == b"OK"
    await kept.store.ask("DEL", GENERATION)
    assert (await kept.store.commit(commit(1, "c2")))[0] == b"OK"


async def test_t11_in_an_older_copy_nothing_goes_on_that_may_have_become_more(kept: Kept) -> None:
    before, after = "019a0000-0000-7000-8000-000000000000", "019b0000-0000-7000-8000-000000000000"
    await kept.store.commit(commit(instance=before))
    await kept.store.ask("SET", GENERATION, f"older:{0x019A_FFFF_FFFF}")
    with pytest.raises(Unavailable):
        await kept.store.commit(commit(1, "c2", instance=before))
    assert (await kept.store.commit(commit(1, "c2", instance=after)))[0] == b"OK"


async def test_a_deadline_and_a_place_in_the_list_come_and_go_with_the_commits(kept: Kept) -> None:
    await kept.store.commit(commit(due=5000, since=7))
    await kept.store.commit(commit(1, "c2", due=6000, since=9))
    due = ("ZRANGEBYSCORE", NAMES[2], 0, 6000, "WITHSCORES", "LIMIT", 0, 10)
    assert await kept.store.ask(*due) == [b"m|1|1|a", b"6000"]
    assert await kept.store.ask("ZRANGE", NAMES[3], 0, -1, "WITHSCORES") == [b"a", b"7"]
    await kept.store.commit(commit(2, "c3"))
    assert await kept.store.ask(*due) == await kept.store.ask("ZRANGE", NAMES[3], 0, -1) == []


async def test_rows_are_read_between_places_and_a_deleted_one_is_never_numbered_again(kept: Kept) -> None:
    await kept.store.commit(commit(rows=3))
    first, second, third = await outbox(kept)
    assert await outbox(kept, b"(" + first) == [second, third]
    assert await outbox(kept, second, second) == [second]
    assert await outbox(kept, last=third.partition(b"-")[0]) == [first, second, third]
    assert await outbox(kept, last=str(int(first.partition(b"-")[0]) - 1)) == []
    assert await kept.store.ask("XDEL", NAMES[1], first, second, third) == 3
    [fresh] = (await kept.store.commit(commit(1, "c2")))[1:]
    assert [int(part) for part in fresh.split(b"-")] > [int(part) for part in third.split(b"-")]


async def test_a_lease_is_one_holders_until_it_ends(kept: Kept) -> None:
    async def holds(who: str) -> int:
        held: int = await kept.store.ask("FCALL", "lease_2", 1, "{s01}:x:lease", who, 150)
        return held

    assert [await holds("a"), await holds("b"), await holds("a")] == [1, 0, 1]
    await asyncio.sleep(0.2)
    assert [await holds("b"), await holds("a")] == [1, 0]


async def test_a_lease_of_an_earlier_life_is_taken_over_by_whoever_says_so_and_by_nobody_else(kept: Kept) -> None:
    async def holds(who: str, *called: str) -> int:
        held: int = await kept.store.ask("FCALL", "lease_2", 1, "{s01}:x:lease", who, 60_000, *called)
        return held

    assert await holds("1-" + "a" * 12, "1") == 1
    assert [await holds("2-" + "b" * 12, "2"), await holds("1-1-" + "b" * 12, "1-1")] == [0, 0]
    assert [await holds("1-" + "b" * 12), await holds("1-" + "c" * 12, "1"), await holds("1-" + "a" * 12)] == [0, 1, 0]


async def test_an_instance_is_restored_only_where_there_is_none(kept: Kept) -> None:
    told = (*NAMES[:1], NAMES[2], NAMES[3], 4, b"{}", 0, "a", "m|1|1|a", 5000, 7, "p", "c1", "c2")
    assert [await kept.store.ask("FCALL", "restore_2", 3, *told) for _ in range(2)] == [1, 0]
    assert await kept.store.ask("HMGET", NAMES[0], "v", "s", "d", "i:c2") == [b"4", b"{}", b"0", b"p"]


async def test_marks_are_set_read_and_taken_back(kept: Kept) -> None:
    await kept.store.ask("HSET", "marks", "a", 1, "b", 2)
    assert await kept.store.ask("HDEL", "marks", "a", "c") == 1
    assert await kept.store.ask_all([("HGET", "marks", "b"), ("HMGET", "marks", "a", "b")]) == [b"2", [None, b"2"]]
    assert await kept.store.ask("HGETALL", "marks") == [b"b", b"2"]


async def test_lost_functions_are_loaded_again_and_the_commit_says_try_again(kept: Kept) -> None:
    await kept.store.ask("FUNCTION", "FLUSH")
    with pytest.raises(FunctionsLost):
        await kept.store.commit(commit())
    assert (await kept.store.commit(commit()))[0] == b"OK"


@pytest.mark.parametrize("how", ["OOM", "READONLY", "NOPERM to write"])
async def test_t1_a_store_that_refuses_is_read_and_takes_nothing_until_it_takes_the_next(kept: Kept, how: str) -> None:
    lease = ("FCALL", "lease_2", 1, "{s01}:x:lease", "a", 150)
    [row] = (await kept.store.commit(commit(state=b"first")))[1:]
    taken_at = kept.store.answered_at
    with kept.refusing(how):
        for write in (kept.store.commit(commit(1, "c2")), kept.store.write_all([lease]), kept.store.load()):
            with pytest.raises(Unavailable):
                await write
        assert (kept.store.refuses, kept.store.answered_at) == (True, taken_at)
        assert await kept.store.ask("HMGET", NAMES[0], "v", "s", "i:c2") == [b"1", b"first", None]
        assert await kept.store.ask("EXISTS", "{s01}:x:lease") == 0
        assert await outbox(kept) == [row]
    assert (await kept.store.commit(commit(1, "c2")))[0] == b"OK"
    assert (kept.store.refuses, kept.store.answered_at > taken_at) == (False, True)


@pytest.mark.parametrize("how", ["OOM", "READONLY", "NOPERM to write"])
async def test_t1_of_the_stores_that_refuse_a_full_one_still_lets_go(kept: Kept, how: str) -> None:
    [row] = (await kept.store.commit(commit()))[1:]
    with kept.refusing(how):
        if how == "OOM":
            assert await kept.store.ask("XDEL", NAMES[1], row) == 1
        else:
            with pytest.raises(Unavailable):
                await kept.store.ask("XDEL", NAMES[1], row)
    assert await outbox(kept) == ([] if how == "OOM" else [row])


async def test_a_store_where_nobody_listens_is_unavailable(nobody: Kept) -> None:
    with pytest.raises(Unavailable):
        await nobody.store.ask("GET", str(uuid4()))
