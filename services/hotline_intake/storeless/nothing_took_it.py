"""What a seat is told when neither the store nor the journal took its cry for help: to phone, and what to say."""

from uuid import UUID

from services.hotline_intake.alarm.row import POLICE
from shared.contract.city import City
from shared.contract.terms import spoken_number
from shared.kernel.errors import Unavailable


class NothingTookIt(Unavailable):
    """Neither the store nor the journal took a cry for help on the line of this city."""

    def __init__(self, city: City, case: UUID) -> None:
        police = city.desk(POLICE[0])
        super().__init__(
            "Neither the store nor the journal takes it. 立即拨打"
            f" {police.number if police else POLICE[0]}: phone 110 now"
            f" and give the number {spoken_number(city.area_code, case)}."
        )
