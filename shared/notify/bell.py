"""外呼: one bell for everybody who rings people outside: whom a city names, by which channels, in which words."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from shared.contract.city import Cities, OnCall
from shared.contract.terms import Place, desk_kind
from shared.notify import channels
from shared.notify.channels import SendMessage

WHO = "【警医】"

PAUSE = 1.0
"""Seconds between two messages to one person: nobody reads faster, and what comes meanwhile goes together."""

LINES = 20
"""Messages that one message carries at the most; the others follow in the next."""

log = structlog.get_logger()


def one_message(messages: Sequence[str], more: int) -> str:
    """What waits for a person, as one message: it says how many they are, and how many `more` follow."""
    if len(messages) == 1:
        return messages[0]
    lines = [message.removeprefix(WHO) for message in messages]
    follow = [f"随后还有 {more} 条 and {more} more follow"] if more else []
    return "\n".join([f"{WHO}{len(messages) + more} 条 messages", *lines, *follow])


@dataclass(eq=False)
class _Channel:
    """One address: one message is under way at a time, and what comes meanwhile is the next."""

    address: str = field(repr=False)
    send: SendMessage
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: dict[str, "asyncio.Future[bool]"] = field(default_factory=dict)
    sent_at: float = float("-inf")

    async def tell(self, words: str) -> bool:
        clock = asyncio.get_running_loop().time
        told = self.waiting.setdefault(words, asyncio.get_running_loop().create_future())
        async with self.turn:
            if not told.done():
                await asyncio.sleep(max(0.0, self.sent_at + PAUSE - clock()))
                words_now = list(self.waiting)[:LINES]
                together = [self.waiting.pop(one) for one in words_now]
                self.sent_at, taken = clock(), False
                try:
                    taken = await self.send([self.address], one_message(words_now, len(self.waiting)))
                finally:
                    for answer in together:
                        answer.set_result(taken)
        return told.result()


@dataclass(frozen=True, eq=False)
class Bell:
    """`environment` holds the channels' addresses, by the names in the city packs: they are secrets."""

    cities: Cities
    send: SendMessage
    environment: Mapping[str, str] = field(repr=False)
    _channels: dict[str, _Channel] = field(default_factory=dict, repr=False)

    async def tell(self, people: Iterable[OnCall], words: str) -> bool:
        """Whether a channel of one of them took the words; a false answer may be a message that arrives later."""
        return await self._tell(self._addresses(people), words)

    async def tell_everybody(self, words: str) -> bool:
        """The same for every city's people, each address once: the system itself is in trouble."""
        everybody = {url for pack in self.cities.values() for url in self._addresses(pack.chain)}
        return await self._tell(sorted(everybody), words)

    async def _tell(self, addresses: Iterable[str], words: str) -> bool:
        channels = [self._channels.setdefault(one, _Channel(one, self.send)) for one in addresses]
        return any(await asyncio.gather(*(channel.tell(words) for channel in channels)))

    async def check_channels(self) -> None:
        """Say which people could not be told, while there is time to mend it."""
        for code, pack in self.cities.items():
            if not pack.chain:
                log.warning("screens_alone_ring", city=code, signal="warning", do="name channels in the city pack")
            for variable in (name for person in pack.chain for name in person.channels):
                address = self.environment.get(variable)
                if not address or not await channels.is_usable(address):
                    log.warning("no_channel", city=code, variable=variable, signal="warning", do="set it for apprise")

    def case_words(self, line: str, case: UUID, words: str) -> str:
        """A message about a case: who says it, the spoken number, and nothing else that is personal."""
        return f"{WHO}{self.cities.spoken_number(line, case)} {words}"

    def phone_now(self, line: str, case: UUID, desks: Iterable[str], place: Place | None = None) -> str:
        """The message that rings: spoken number, whom to phone under which number, phone now."""
        called = "、".join(
            f"{self.desk_name(one)} {self.cities.desk_number(one, place) or desk_kind(one)}" for one in desks
        )
        return self.case_words(line, case, f"请立即拨打 {called} phone now")

    def desk_name(self, desk: str) -> str:
        """What the desk calls itself, else its short number."""
        return self.cities.desk_name(desk) or desk_kind(desk)

    def _addresses(self, people: Iterable[OnCall]) -> Sequence[str]:
        named = (name for person in people for name in person.channels)
        return tuple(self.environment[name] for name in named if self.environment.get(name))
