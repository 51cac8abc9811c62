"""What intake answers: a call as its seat sees it, and the alarms of a city. Personal data only in `CallFile`."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from services.hotline_intake.alarm.row import AlarmRow, desk_due_at, unheard_due_at
from services.hotline_intake.call import Call, CallStatus
from services.hotline_intake.lenient import Ignored
from services.hotline_intake.seat_act import KeptInJournal, SeatActRequest
from shared.contract.calls import CallEnding, FollowUp
from shared.contract.city import Cities, City
from shared.contract.ledger import ALARMING, LedgerDesk, LedgerRow, Phase, WatchedDesk
from shared.contract.terms import Brief, Confidence, spoken_number
from shared.kernel.machine.keeper import Learned
from shared.kernel.machine.vault import Unreadable

PHONE = "存储无应答，已存入本机。请立即拨打下列指挥台。 The store is silent; this is kept here. Phone these desks now."
WAIT = "存储无应答，已存入本机，恢复后自动处理。 The store is silent; this is kept here and goes on when it answers."


class IntakeView(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


class LedgerState(StrEnum):
    """台账: whether somebody is waited for, and whether a human is asked to phone."""

    QUIET = "quiet"
    WATCHING = "watching"
    ALARMING = "alarming"
    DONE = "done"


class LedgerView(IntakeView):
    """告警台账 of a call."""

    state: LedgerState = Field(description="quiet 无, watching 等待签收, alarming 人工告警, done 已落实")
    armed_at: datetime | None = None
    desks: tuple[WatchedDesk, ...] = ()


class PlaceView(IntakeView):
    """How the place is known, without the address."""

    confidence: Confidence
    city: str | None = None
    area_code: str | None = None


class CallView(IntakeView):
    """A call 来电, without personal data."""

    case: UUID
    city: str
    spoken_number: str = Field(description="口述编号, said on the phone", examples=["0354-482913-7"])
    status: CallStatus
    ending: CallEnding | None = None
    counsellor: str | None = None
    place: PlaceView
    has_brief: bool
    follow_ups: tuple[FollowUp, ...] = ()
    ledger: LedgerView
    ignored: Ignored = ()


class CallFile(CallView):
    """The call with what the seat wrote down; `sealed` names what could not be opened here."""

    caller: str | None = None
    place_text: str | None = None
    brief: Brief | None = None
    sealed: tuple[str, ...] = ()


class ScreeningSaved(IntakeView):
    """筛查已保存. `danger` says that the ledger's clocks run from this save."""

    screening: UUID
    danger: bool
    spoken_number: str
    call: CallView
    ignored: Ignored = ()


class PhoneNow(IntakeView):
    """A desk to phone now 立即拨打."""

    desk: str = Field(examples=["140700-110"])
    desk_name: str | None = None
    number: str | None = Field(None, description="Null where no city pack names it")
    claimed_by: str | None = None


class KeptView(IntakeView):
    """已存入本机日志: the store is silent. It is kept on this machine, people are rung, and it is learnt later."""

    saved: Literal["journal"] = "journal"
    case: UUID
    spoken_number: str
    phone_now: tuple[PhoneNow, ...]
    say: str = Field(description="What to do, in words")
    screening: UUID | None = None
    call: CallView = Field(description="As far as it is known without the store")
    ignored: Ignored = ()


class AlarmView(IntakeView):
    """人工告警: phone this desk now."""

    case: UUID
    spoken_number: str
    desk: str
    desk_name: str | None = None
    number: str | None = Field(None, description="The desk's phone number; null where no city pack names it")
    because: str | None
    ringing_since: datetime | None
    phase: Phase
    claimed_by: str | None = None
    rings: tuple[str, ...] = Field((), description="Who is being rung now: seats, supervisor, people told outside")
    taken: bool | None = Field(None, description="Whether a channel took the last ring outside; null before the first")
    from_memory: bool = Field(False, description="The store is silent, or does not know of it yet")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": {"application/problem+json": {"schema": {"type": "object"}}}}
    for status, words in {
        401: "unauthorised, actor_needed 未认证",
        404: "unknown_city, call_unknown 未找到",
        409: "An illegal move 状态不允许; nothing was written",
        422: "The request makes no sense as it stands 请求有误; nothing was written",
        503: "unavailable: send the same request with the same Idempotency-Key again 请用同一幂等键重试",
    }.items()
}
"""What every route of a seat may refuse with, for its OpenAPI."""

KEPT: dict[int | str, dict[str, Any]] = {
    202: {"model": KeptView, "description": "The store is silent: kept in the journal, people are rung 已存入本机日志"}
}
"""What an act is answered while the store is silent."""


def seat_answer(
    cities: Cities,
    request: SeatActRequest,
    outcome: Learned[Call] | KeptInJournal,
    response: Response,
    ignored: Ignored = (),
) -> CallView | KeptView:
    """The answer to an act that was taken: the call as it is now, or with 202 as memory and journal keep it."""
    city = cities[request.city]
    if isinstance(outcome, KeptInJournal):
        response.status_code = 202
        return kept_view(cities, city, outcome).model_copy(update={"ignored": ignored})
    return call_view(city, request.case, outcome.state).model_copy(update={"ignored": ignored})


async def call_file(
    city: City, case: UUID, call: Call, unseal: Callable[[str, str | None], Awaitable[Any]]
) -> CallFile:
    """The call with its personal data, as far as it opens here."""
    opened: dict[str, Any] = {}
    sealed: list[str] = []
    for field, value in (("caller", call.caller), ("place_text", call.place.text), ("brief", call.brief)):
        try:
            opened[field] = await unseal(field.removesuffix("_text"), value)
        except Unreadable:
            sealed.append(field.removesuffix("_text"))
    return CallFile(**call_view(city, case, call).model_dump(), **opened, sealed=tuple(sealed))


def call_view(city: City, case: UUID, call: Call) -> CallView:
    return CallView(
        case=case,
        city=city.code,
        spoken_number=spoken_number(city.area_code, case),
        status=call.status,
        ending=call.ending,
        counsellor=call.counsellor,
        place=PlaceView.model_validate(call.place.model_dump(exclude={"text"})),
        has_brief=call.brief is not None,
        follow_ups=call.follow_ups,
        ledger=ledger_view(call.alarm),
    )


def row_view(city: City, case: UUID, call: Call, *, drill: bool) -> LedgerRow:
    due = {name: desk_due_at(call.alarm, desk, city.clocks) for name, desk in call.alarm.desks.items()}
    desks = (LedgerDesk(**desk.model_dump(), due_at=due[desk.desk]) for desk in ledger_view(call.alarm).desks)
    return LedgerRow(
        case=case,
        city=city.code,
        spoken_number=spoken_number(city.area_code, case),
        drill=drill,
        armed_at=call.alarm.armed_at,
        due_at=unheard_due_at(call.alarm, city.clocks),
        desks=tuple(desks),
    )


def ledger_view(alarm: AlarmRow) -> LedgerView:
    desks = tuple(
        WatchedDesk(
            desk=name,
            phase=desk.phase,
            n=desk.n,
            since=desk.since,
            ringing_since=desk.rung_at if desk.phase in ALARMING else None,
            because=desk.because,
            by=desk.by,
            officer=desk.officer,
            event_no=desk.event_no,
        )
        for name, desk in sorted(alarm.desks.items())
    )
    return LedgerView(state=_state(alarm), armed_at=alarm.armed_at, desks=desks)


def _state(alarm: AlarmRow) -> LedgerState:
    if alarm.alarming:
        return LedgerState.ALARMING
    if alarm.standing:
        return LedgerState.WATCHING
    return LedgerState.DONE if alarm.desks else LedgerState.QUIET


def kept_view(cities: Cities, city: City, kept: KeptInJournal) -> KeptView:
    request, call = kept.request, kept.call
    desks = tuple(
        PhoneNow(
            desk=name, desk_name=cities.desk_name(name), number=cities.desk_number(name, call.place), claimed_by=desk.by
        )
        for name, desk in call.alarm.desks.items()
        if desk.phase in ALARMING
    )
    return KeptView(
        case=request.case,
        spoken_number=spoken_number(city.area_code, request.case),
        phone_now=desks,
        say=PHONE if any(desk.claimed_by is None for desk in desks) else WAIT,
        screening=request.screening if request.act.screens else None,
        call=call_view(city, request.case, call),
    )


def alarm_views(cities: Cities, city: City, call: Call, *, from_memory: bool = False) -> list[AlarmView]:
    """A call's desks that ring or are being phoned."""
    return [
        AlarmView(
            case=call.case,
            spoken_number=spoken_number(city.area_code, call.case),
            desk=name,
            desk_name=cities.desk_name(name),
            number=cities.desk_number(name, call.place),
            because=desk.because,
            ringing_since=desk.rung_at,
            phase=desk.phase,
            claimed_by=desk.by,
            rings=_rung(city, call.alarm) if desk.phase is Phase.RINGING else (),
            taken=call.alarm.sounding.taken if call.alarm.sounding.persons else None,
            from_memory=from_memory,
        )
        for name, desk in call.alarm.desks.items()
        if call.case is not None and desk.phase in ALARMING
    ]


def _rung(city: City, alarm: AlarmRow) -> tuple[str, ...]:
    told = city.chain[: alarm.sounding.persons]
    return (*city.seats, "督导 supervisor", *(person.name for person in told))
