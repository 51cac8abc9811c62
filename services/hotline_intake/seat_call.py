"""One call as a seat works on it: found in the store, and what is personal in it sealed and opened."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.hotline_intake.call import Call
from shared.kernel.machine.keeper import Keeper
from shared.kernel.machine.machine import Address
from shared.kernel.machine.vault import Vault


@dataclass(frozen=True)
class SeatCall:
    """The call at `address`. Every method raises Unavailable where the store does not answer."""

    calls: Keeper[Call]
    vault: Vault
    address: Address

    @property
    def case(self) -> UUID:
        return UUID(self.address.instance)

    async def find(self) -> Call | None:
        """The call as it stands, if this city's line knows it."""
        call = await self.calls.get(self.address)
        return call if call and call.city == self.address.home else None

    async def seal(self, field: str, value: Any) -> str:
        """`value` as ciphertext. A number sealed twice reads differently, so the same number keeps its first one."""
        before = await self.find() if field == "caller" else None
        if before and before.caller and value == await self.unseal("caller", before.caller):
            return before.caller
        return await self.vault.seal(self.case, field, value, city=self.address.home)

    async def unseal(self, field: str, sealed: str | None) -> Any:
        """The value again; None stays None. Raises Unreadable."""
        return None if sealed is None else await self.vault.unseal(self.case, field, sealed, city=self.address.home)
