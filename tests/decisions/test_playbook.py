"""Which desks danger calls out: kinds by tier, the city by the place read back, a phone number where no pack is."""

import pytest

from services.dispatch import playbook
from services.dispatch.playbook import CalledDesk, Correction, TargetCity
from shared.contract.city import Cities, City, DeskEntry, WebhookWire
from shared.contract.terms import ECHO, Confidence, Place, Tier
from tests.support.a_city import a_city

WIRE = WebhookWire.model_validate({"kind": "webhook", "url": "http://127.0.0.1:9/callouts", "secret_env": "S"})


def city(code: str, area_code: str, kinds: tuple[str, ...]) -> City:
    desks = {f"{code}-{kind}": DeskEntry(name=kind, name_en=kind, number=area_code + kind, wire=WIRE) for kind in kinds}
    return a_city(code, area_code=area_code, desks=desks)


CITIES = Cities([city("140700", "0354", ("110", "120", "119")), city("140100", "0351", ("110", "120"))])


@pytest.mark.parametrize("tier", [None, *Tier])
def test_no_tier_withholds_police_and_ambulance_once_somebody_asks_for_people_on_site(tier: Tier | None) -> None:
    assert playbook.kinds_to_call(tier) == ("110", "120")


def test_kinds_asked_for_by_hand_come_in_addition_and_each_once() -> None:
    assert playbook.kinds_to_call(None, ("119", "110")) == ("110", "120", "119")


def test_a_drill_of_the_machine_calls_out_the_echo_desk_and_nobody_else() -> None:
    assert playbook.kinds_to_call(None, (ECHO,)) == (ECHO,)
    assert playbook.choose_desk(CITIES, TargetCity("140700", "0354"), ECHO) == CalledDesk("140700-000", None)
    assert not CITIES.by_phone("140700-000")


def test_a_place_read_back_chooses_its_city() -> None:
    assert playbook.choose_city(CITIES, "140700", read_back("140100")) == TargetCity("140100", "0351")


@pytest.mark.parametrize("how", [Confidence.UNKNOWN, Confidence.GUESSED, Confidence.STATED])
def test_only_a_place_read_back_routes(how: Confidence) -> None:
    assert not playbook.routes_callouts(Place(confidence=how, city="140100"))


def test_without_a_place_read_back_the_lines_own_city_is_called() -> None:
    assert playbook.choose_city(CITIES, "140700", None) == TargetCity("140700", "0354")


@pytest.mark.parametrize(
    ("how", "enough"), [("unknown", False), ("guessed", False), ("stated", True), ("read_back", True)]
)
def test_a_guess_is_not_a_place(how: str, enough: bool) -> None:
    assert playbook.is_known(Place(confidence=Confidence(how))) is enough


def test_a_city_without_a_pack_is_phoned_under_its_area_code() -> None:
    where = playbook.choose_city(CITIES, "140700", read_back("141000", "0357"))
    assert playbook.choose_desk(CITIES, where, "110") == CalledDesk("141000-110", "0357110")


def test_t4_a_city_dialled_under_a_packs_area_code_is_that_packs() -> None:
    """Else the same 110 is called out twice, and a second car comes."""
    where = playbook.choose_city(CITIES, "140100", read_back("140701", "0354"))
    assert playbook.choose_desk(CITIES, where, "110") == CalledDesk("140700-110", None)


def test_a_city_that_nobody_could_phone_leaves_the_lines_own_desk_in_charge() -> None:
    assert playbook.choose_city(CITIES, "140700", read_back("141000")) == TargetCity("140700", "0354")


def test_a_kind_that_the_pack_does_not_name_is_phoned() -> None:
    where = playbook.choose_city(CITIES, "140100", None)
    assert playbook.choose_desk(CITIES, where, "119") == CalledDesk("140100-119", "0351119")
    assert CITIES.by_phone("140100-119")


def test_a_wired_desk_accepts_within_the_consoles_time_and_a_phoned_one_within_a_phone_calls() -> None:
    assert playbook.accept_within(CITIES, "140700-110", "140700") == 15
    assert playbook.accept_within(CITIES, "141000-110", "140700") == 120


@pytest.mark.parametrize("code", ["wrong_jurisdiction", "cannot_locate", "too_old", "no_unit", "never_heard_of", None])
def test_a_rejection_is_corrected_by_a_person(code: str | None) -> None:
    assert playbook.correction_after(code) is Correction.BY_HAND


def test_a_duplicate_asks_nothing_of_anybody() -> None:
    assert playbook.correction_after("duplicate") is Correction.NONE


def read_back(code: str, area_code: str | None = None) -> Place:
    return Place(confidence=Confidence.READ_BACK, city=code, area_code=area_code)
