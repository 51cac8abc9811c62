"""One bell: what waits for a person goes as one message, however much there is, and nothing is left out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from shared.contract.city import Cities, City
from shared.notify.bell import LINES, PAUSE, Bell
from tests.simulation.loop import VirtualLoop
from tests.support.a_city import pack

CITY = City.model_validate(
    pack(
        "140200",
        area_code="0352",
        desks={},
        on_call={"name": "值班督导", "number": "1", "channels": ["FIRST"]},
        next_on_call=[{"name": "热线负责人", "number": "2", "channels": ["NEXT"]}],
    )
)


@dataclass
class Phones:
    """The phones of people; those of the addresses that hang never take a message."""

    hang: tuple[str, ...] = ()
    took: list[tuple[float, str, str]] = field(default_factory=list)

    async def send(self, urls: Sequence[str], words: str) -> bool:
        [address] = urls
        await asyncio.sleep(4 if address in self.hang else 0.01)
        self.took.append((asyncio.get_running_loop().time(), address, words))
        return address not in self.hang

    def told(self, address: str) -> list[str]:
        return [words for _, to, words in self.took if to == address]


async def ring(phones: Phones, cases: int) -> list[bool]:
    bell = Bell(Cities([CITY]), phones.send, {"FIRST": "first", "NEXT": "next"})
    return await asyncio.gather(*(bell.tell(CITY.chain, f"【警医】{n} 请立即拨打 110") for n in range(cases)))


def play(phones: Phones, cases: int) -> list[bool]:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(ring(phones, cases))
    finally:
        loop.close()


def test_one_case_is_told_as_it_is() -> None:
    phones = Phones()
    assert play(phones, 1) == [True]
    assert phones.told("first") == phones.told("next") == ["【警医】0 请立即拨打 110"]


def test_l5_a_hundred_cases_at_once_are_five_messages_that_say_how_many_and_name_each() -> None:
    phones = Phones()
    assert play(phones, 100) == [True] * 100
    told = phones.told("first")
    assert [len(message.splitlines()) for message in told] == [LINES + 2] * 4 + [LINES + 1]
    assert ("100" in told[0], "80" in told[0].splitlines()[-1]) == (True, True)
    named = [line.split()[0] for message in told for line in message.splitlines()[1:] if "请立即拨打" in line]
    assert sorted(named, key=int) == [str(n) for n in range(100)]


def test_l5_what_comes_while_a_message_is_under_way_is_the_next_one() -> None:
    phones = Phones()
    loop = VirtualLoop()

    async def story() -> None:
        bell = Bell(Cities([CITY]), phones.send, {"FIRST": "first", "NEXT": "next"})
        for n in range(50):
            loop.create_task(bell.tell(CITY.chain[:1], f"【警医】{n} 请立即拨打 110"))
            await asyncio.sleep(0.1)
        await asyncio.sleep(3)

    try:
        loop.run_until_complete(story())
    finally:
        loop.close()
    moments = [at for at, _, _ in phones.took]
    assert len(moments) <= 7
    assert min(later - at for at, later in pairwise(moments)) == pytest.approx(PAUSE)
    told = "\n".join(phones.told("first"))
    assert all(f"{n} 请立即拨打" in told for n in range(50))


def test_l5_a_phone_that_hangs_holds_up_nobody_elses() -> None:
    phones = Phones(hang=("first",))
    assert play(phones, 3) == [True] * 3
    assert max(at for at, to, _ in phones.took if to == "next") < 4
