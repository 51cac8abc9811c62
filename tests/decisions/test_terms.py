"""The words of the contract on everything that another organisation or a hand can write for them."""

import json
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from services.dispatch.supervision import DeskOrKind
from services.hotline_intake.acts import AlarmSettlement, Phone
from services.responder_adapter.callout import AttemptAnswered, ReportRung
from services.responder_adapter.disclosure import minimum_brief
from services.responder_adapter.tasks_api import PhoneReport
from shared.contract.callouts import CallOutAccepted
from shared.contract.calls import AlarmSettled
from shared.contract.shown import shown_text
from shared.contract.terms import AreaCode, Brief, CityCode, DeskId, DeskKind, RefNo

NUMBER = TypeAdapter[str](RefNo)
BLANKS = ["", " ", "\t", "\u00a0", "\u3000", "\u200b", "\u200f", "\ufeff", "\u2060", "\u3164", "\u2800", "\U000e0020"]
ONLY_SIGNS = ["-", "---", "—", "－", "…", "/", "\u0301", *(f"-{blank}-" for blank in BLANKS)]
STEERING = st.characters(categories=["Cc", "Cf", "Co", "Cs", "Zl", "Zp"])
ABOUT = {"case": "0197a000-0000-7000-8000-000000000001", "city": "140700", "desk": "140700-110"}


def taken(number: Any) -> str | None:
    try:
        return NUMBER.validate_python(number)
    except ValidationError:
        return None


@pytest.mark.parametrize("number", [*BLANKS, *ONLY_SIGNS], ids=ascii)
def test_t10_a_blank_number_is_none(number: str) -> None:
    """Else a desk that filled in nothing ends an alarm."""
    assert taken(number) is None
    callout = {**ABOUT, "n": 1, "rung": "accepted"}
    for kind, fields in (
        (AlarmSettlement, {"desk": "140700-110", "officer": "041207"}),
        (PhoneReport, {"rung": "accepted", "officer": "041207"}),
        (ReportRung, callout),
        (AttemptAnswered, {**callout, "token": 1}),
    ):
        kind.model_validate({**fields, "event_no": "E-1"})
        with pytest.raises(ValidationError):
            kind.model_validate({**fields, "event_no": number})


@pytest.mark.parametrize(
    ("given_number", "kept"),
    [
        ("041207", "041207"),
        ("警０１２３", "警0123"),
        ("  E-1\u00a0", "E-1"),
        ("晋公\u3000110", "晋公 110"),
        ("Ｅ\u20601", "E1"),
        ("𠮷-1", "𠮷-1"),
        ("\ufeff20261126001", "20261126001"),
    ],
)
def test_t10_a_number_is_kept_as_people_compare_it(given_number: str, kept: str) -> None:
    assert taken(given_number) == kept
    assert taken(kept) == kept


@given(st.text(STEERING), st.text("Ａ９7x号-"), st.text(STEERING))
def test_s4_no_number_steers_a_screen(before: str, words: str, after: str) -> None:
    number = taken(f"{before}{words[:20]}{after}{words[20:40]}")
    assert number is None or (number.isprintable() and number == shown_text(number))


@pytest.mark.parametrize("number", ["-", " ", "\u3000", "E\u202e1", "E-1"])
def test_t10_what_an_earlier_release_took_down_is_still_read(number: str) -> None:
    said = json.dumps({**ABOUT, "n": 1, "at": "2026-03-01T22:00:00Z", "event_no": number, "officer": number})
    assert CallOutAccepted.model_validate_json(said).event_no == number
    assert AlarmSettled.model_validate_json(said.replace('"n": 1', '"by": "seat-1"')).officer == number


@given(st.text(st.one_of(STEERING, st.characters())))
def test_t6_text_is_shown_without_what_steers_and_with_all_the_rest(text: str) -> None:
    shown = shown_text(text)
    assert not {category(mark) for mark in shown} & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    assert shown_text(shown) == shown
    seen = [mark for mark in text if category(mark) not in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}]
    assert [mark for mark in shown if mark != " "] == [mark for mark in seen if mark != " "]


def test_t6_what_a_desk_is_told_steers_nothing() -> None:
    brief = Brief(
        callback="13800000000", weapon="刀\x1b[31m\u202e\U000e0041\x00", hazards="狗\n两只", door_code="[/]#\u206612"
    )
    told = minimum_brief(brief, medical=False)
    assert told == {"callback": "13800000000", "weapon": "刀[31m", "hazards": "狗 两只", "door_code": "[/]#12"}


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        (CityCode, "１４０７００", "140700"),
        (CityCode, " 140700\u200b", "140700"),
        (AreaCode, "０３５４", "0354"),
        (DeskKind, "１１０", "110"),
        (DeskId, "１４０７００－１１０", "140700-110"),
        (DeskOrKind, "１１０", "110"),
        (Phone, "＋８６\u3000１３８００００００００", "+86 13800000000"),
        (CityCode, "\u0661\u0664\u0660\u0667\u0660\u0660", None),
        (AreaCode, "0\u0663\u0665\u0664", None),
        (DeskKind, "\u0967\u0967\u0966", None),
        (DeskId, "140700-\U0001d7ce\u0661\u0661", None),
        (CityCode, "一四〇七〇〇", None),
    ],
    ids=ascii,
)
def test_t4_full_width_digits_are_folded_and_no_others_are_digits(kind: Any, written: str, meant: str | None) -> None:
    """Else one city has two names, and each name sends a car."""
    try:
        read = TypeAdapter[str](kind).validate_python(written)
    except ValidationError:
        read = None
    assert read == meant
