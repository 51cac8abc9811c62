"""Rates every saved screening and says the tier, with its reasons. Start reading here."""

from functools import partial

from services.risk_assessment import api
from services.risk_assessment.assessment import Assessment, decide, evolve
from services.risk_assessment.handlers import on_screening_recorded
from shared.contract.calls import CallReceived, ScreeningRecorded
from shared.contract.risk import RiskEvent
from shared.kernel.machine.machine import Machine
from shared.kernel.process.service import Kit, Service


def build(kit: Kit) -> Service:
    assessments = kit.keep(machine())
    return Service(
        name="risk_assessment",
        consumes={
            CallReceived: kit.vault.fetch_key,
            ScreeningRecorded: partial(on_screening_recorded, kit.vault, assessments),
        },
        speaks=RiskEvent,
        routes=(api.routes(kit, assessments),),
    )


def machine() -> Machine[Assessment]:
    """The machine of assessments. It waits for nobody: the ledger at intake notices if none comes."""
    return Machine("assessment", Assessment(), decide, evolve, deadline=lambda _: None, listed=lambda _: False)
