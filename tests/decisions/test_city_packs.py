"""Every city pack holds together: it validates, names its own desks, and marks what nobody has signed for."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from shared.contract.city import City
from shared.contract.terms import desk_city, desk_kind

PACKS = sorted((Path(__file__).parents[2] / "deploy" / "cities").glob("*.yaml"))


@pytest.fixture(params=PACKS, ids=lambda path: path.stem)
def pack(request: pytest.FixtureRequest) -> City:
    path: Path = request.param
    city = City.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert city.code == path.stem
    return city


def test_a_pack_names_desks_of_its_own_city_only(pack: City) -> None:
    assert {desk_city(desk) for desk in pack.desks} == {pack.code}


@pytest.mark.parametrize(("name", "wire"), [("140700-000", "phone"), ("140700-110", "echo")])
def test_no_pack_makes_a_desk_that_only_echoes_of_one_that_people_count_on(name: str, wire: str) -> None:
    pack = yaml.safe_load(PACKS[0].read_text(encoding="utf-8"))
    entry = {**pack["desks"]["140700-110"], "wire": {"kind": wire}}
    with pytest.raises(ValidationError, match="built in"):
        City.model_validate({**pack, "desks": {**pack["desks"], name: entry}})


def test_every_city_can_call_out_the_police_and_an_ambulance(pack: City) -> None:
    assert {"110", "120"} <= {desk_kind(desk) for desk in pack.desks}
    assert [desk_kind(desk) for desk, entry in pack.desks.items() if entry.medical] == ["120"]


def test_a_desk_is_dialled_with_its_area_code_so_that_another_citys_line_reaches_it_too(pack: City) -> None:
    assert {entry.number for entry in pack.desks.values()} == {
        f"{pack.area_code}{desk_kind(desk)}" for desk in pack.desks
    }


def test_the_line_is_staffed_and_somebody_is_named_for_the_hours_when_it_is_not(pack: City) -> None:
    assert len(pack.seats) >= 2
    assert pack.opens != pack.closes
    assert pack.on_call.name


def test_what_is_marked_unverified_exists_in_the_pack(pack: City) -> None:
    everything = pack.model_dump()
    for entry in pack.unverified:
        found = everything
        for part in entry.split("."):
            assert part in found, entry
            found = found[part]


def test_no_desk_of_a_shipped_pack_has_a_wire_before_its_city_has_connected_one(pack: City) -> None:
    assert {entry.wire.kind for entry in pack.desks.values()} == {"phone"}


def test_no_shipped_pack_names_a_channel_before_its_city_has_given_one(pack: City) -> None:
    assert pack.chain == ()
    assert len(pack.next_on_call) >= 1
