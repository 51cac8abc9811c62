"""The doors of intake and the adapter, as the auditor knocks at them: with its own token, and never for long."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from pydantic import TypeAdapter, ValidationError

from shared.contract.callouts import OpenCallOut
from shared.contract.ledger import LedgerSnapshot
from shared.kernel.errors import Unavailable
from shared.kernel.process.platform import Transport
from shared.kernel.process.settings import Settings

NAME, INTAKE, ADAPTER = "auditor", "hotline_intake", "responder_adapter"
WITHIN = 4.0
"""Seconds an answer may take."""

CALLOUTS = TypeAdapter(tuple[OpenCallOut, ...])


@dataclass(frozen=True, eq=False)
class PeerClients:
    """Every method raises Unavailable when nobody answers, or not as agreed."""

    settings: Settings
    http: httpx.AsyncClient

    async def ledger(self) -> LedgerSnapshot:
        """Every standing row of intake's ledger."""
        try:
            return LedgerSnapshot.model_validate(await self._ask("GET", INTAKE, "/ledger"))
        except ValidationError as unknown:
            raise Unavailable("Intake's ledger is not as agreed.") from unknown

    async def callouts(self) -> tuple[OpenCallOut, ...]:
        """Every call-out that nobody at its desk has yet."""
        try:
            return CALLOUTS.validate_python(await self._ask("GET", ADAPTER, "/callouts"))
        except ValidationError as unknown:
            raise Unavailable("The adapter's call-outs are not as agreed.") from unknown

    async def drill(self, city: str, case: UUID, at: datetime) -> None:
        """Have intake escalate a drill case; the same moment again is the same drill."""
        await self._ask("POST", INTAKE, f"/drills/{city}/{case}", {"at": at.isoformat()})

    async def _ask(self, method: str, service: str, path: str, body: object = None) -> Any:
        url = self.settings.doors.get(service)
        if url is None:
            raise Unavailable(f"Nobody told the auditor where {service} is; set JINGYI_DOORS.")
        headers = {"authorization": f"Bearer {self.settings.peer_token(NAME)}"}
        try:
            answer = await self.http.request(method, f"{url}{path}", json=body, headers=headers)
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except (httpx.HTTPError, ValueError) as silence:
            raise Unavailable(f"{service} does not answer: {type(silence).__name__}.") from silence


def connect_peers(settings: Settings, transport: Transport) -> PeerClients:
    """The doors, over connections that the platform makes."""
    http = httpx.AsyncClient(transport=transport(trust_env=False, retries=0), timeout=WITHIN, trust_env=False)
    return PeerClients(settings, http)
