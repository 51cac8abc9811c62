"""City packs on one machine: their own words, with the simulated desks' wires laid over."""

from dataclasses import replace
from pathlib import Path

from deploy.local import packs
from deploy.local.ports import Ports


def test_a_simulated_desk_gets_a_wire_to_its_port_and_the_others_keep_theirs() -> None:
    pack = {
        "code": "140700",
        "desks": {
            "140700-110": {"name": "晋中110", "wire": {"kind": "phone"}},
            "140700-119": {"name": "晋中119"},
        },
    }
    rewired = packs.rewired(pack, packs.simulated(replace(Ports(), desk_110=28110)))
    wire = rewired["desks"]["140700-110"]["wire"]
    assert wire["url"] == "http://127.0.0.1:28110/callouts"
    assert wire["secret_env"] == "JINGYI_SECRET_140700_110"
    assert rewired["desks"]["140700-119"] == {"name": "晋中119"}


def test_packs_are_laid_afresh_each_time(tmp_path: Path) -> None:
    target = tmp_path / "cities"
    packs.lay(target, Ports())
    (target / "000000.yaml").write_text("left from before")
    packs.lay(target, Ports())
    assert not (target / "000000.yaml").exists()


def test_everybody_of_the_chain_is_reached_through_the_simulated_gateway_and_no_pack_holds_an_address() -> None:
    pack = {"code": "140700", "on_call": {"name": "a"}, "next_on_call": [{"name": "b", "channels": ["REAL"]}]}
    reached = packs.reachable(pack)
    named = [*reached["on_call"]["channels"], *reached["next_on_call"][0]["channels"]]
    assert named == ["JINGYI_CHANNEL_140700_1", "JINGYI_CHANNEL_140700_2"]
    told = packs.channels(replace(Ports(), channel=28140))
    assert [told[name] for name in named] == [f"json://127.0.0.1:28140/messages/140700-{place}" for place in (1, 2)]
