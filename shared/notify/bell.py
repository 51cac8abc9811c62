"""外呼: one bell for everybody who rings people outside: whom a city names, by which channels, in which words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from shared.contract.city import Cities, OnCall
from shared.contract.terms import Place, desk_kind
from shared.notify import channels
from shared.notify.channels import SendMessage

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Bell:
    """`environment` holds the channels' addresses, by the names in the city packs: they are secrets."""

    cities: Cities
    send: SendMessage
    environment: Mapping[str, str] = field(repr=False)

    async def tell(self, people: Iterable[OnCall], words: str) -> bool:
        """Whether a channel of one of them took the words; a false answer may be a message that arrives later."""
        return await self.send(self._addresses(people), words)

    async def tell_everybody(self, words: str) -> bool:
        """The same for every city's people, each address once: the system itself is in trouble."""
        return await self.send(
            sorted({url for pack in self.cities.values() for url in self._addresses(pack.chain)}), words
        )

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
        return f"【警医】{self.cities.spoken_number(line, case)} {words}"

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
