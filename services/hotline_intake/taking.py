"""What a seat is answered when its act is taken: the call as it is now, or with 202 as memory and journal keep it."""

from dataclasses import dataclass

from fastapi import Response
from pydantic import BaseModel

from services.hotline_intake.acts import What
from services.hotline_intake.call import Call
from services.hotline_intake.seat import Asking
from services.hotline_intake.storeless.acceptance import Acceptance, KeptInJournal
from services.hotline_intake.views import CallView, KeptView, call_view, kept_view
from shared.kernel.machine.keeper import Learned
from shared.kernel.process import web
from shared.kernel.process.service import Kit


@dataclass(frozen=True)
class Taking:
    """Has acts taken. Raises UnknownCity where no such line is kept here, and whatever Acceptance refuses with."""

    kit: Kit
    acceptance: Acceptance

    async def take(self, act: Asking, what: What, body: BaseModel, response: Response) -> CallView | KeptView:
        """The answer to this act."""
        web.city_pack(self.kit.cities, act.city)
        return self.answer(act, await self.acceptance.take(act.act(what, body)), response)

    def answer(self, act: Asking, outcome: Learned[Call] | KeptInJournal, response: Response) -> CallView | KeptView:
        """The answer to an act that was taken."""
        city = web.city_pack(self.kit.cities, act.city)
        if isinstance(outcome, KeptInJournal):
            response.status_code = 202
            return kept_view(self.kit.cities, city, outcome.act, outcome.call)
        return call_view(city, act.case, outcome.state)
