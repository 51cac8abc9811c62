"""The city packs as one machine runs them: a copy of deploy/cities with simulated wires and channels laid over."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from deploy.local.folders import ROOT
from deploy.local.ports import HOST, Ports

CITIES = ROOT / "deploy" / "cities"
WIRES = Path(__file__).with_name("wires.yaml")


def lay(target: Path, ports: Ports) -> Path:
    """Fill `target` anew."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    wires = simulated(ports)
    for source in sorted(CITIES.glob("*.yaml")):
        pack = reachable(rewired(yaml.safe_load(source.read_text(encoding="utf-8")), wires))
        written = yaml.safe_dump(pack, allow_unicode=True, sort_keys=False)
        (target / source.name).write_text(written, encoding="utf-8")
    return target


def simulated(ports: Ports) -> dict[str, Any]:
    """Wire by desk id, with this system's ports."""
    text = WIRES.read_text(encoding="utf-8")
    for name, port in asdict(ports).items():
        text = text.replace(f"{{{name}}}", str(port))
    wires: dict[str, Any] = yaml.safe_load(text)
    return wires


def rewired(pack: dict[str, Any], wires: Mapping[str, Any]) -> dict[str, Any]:
    desks = {desk: {**entry, "wire": wires.get(desk, entry.get("wire"))} for desk, entry in pack["desks"].items()}
    kept = {desk: {k: v for k, v in entry.items() if v is not None} for desk, entry in desks.items()}
    return {**pack, "desks": kept}


def reachable(pack: dict[str, Any]) -> dict[str, Any]:
    """The same with a channel of the simulated gateway for each person of the chain."""
    first, *others = (
        {**person, "channels": [channel_variable(pack["code"], place)]} for place, person in enumerate(chain(pack), 1)
    )
    return {**pack, "on_call": first, "next_on_call": others}


def channels(ports: Ports) -> dict[str, str]:
    """Each of those persons' address for apprise, by the variable that the packs name."""
    packs = [yaml.safe_load(source.read_text(encoding="utf-8")) for source in CITIES.glob("*.yaml")]
    return {
        channel_variable(pack["code"], place): f"json://{HOST}:{ports.channel}/messages/{pack['code']}-{place}"
        for pack in packs
        for place, _ in enumerate(chain(pack), 1)
    }


def chain(pack: dict[str, Any]) -> list[dict[str, Any]]:
    return [pack["on_call"], *pack.get("next_on_call", [])]


def channel_variable(city: str, place: int) -> str:
    return f"JINGYI_CHANNEL_{city}_{place}"
