"""The city that every run plays in, and the services as its processes are told to be. Made once a program."""

import base64
import os
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from shared.kernel.process.settings import Settings
from shared.notify import channels

CITY, AREA = "140700", "0354"
DESKS = (f"{CITY}-110", f"{CITY}-120")
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
VARIABLE, CHANNEL = "JINGYI_SECRET_SIMULATED", "JINGYI_CHANNEL_SIMULATED"
PACK = Path(__file__).parents[2] / "deploy" / "cities" / f"{CITY}.yaml"


async def usable(url: str) -> bool:
    """Every address is one; the real look loads a library in a thread."""
    return True


@cache
def folder() -> Path:
    """Where the city pack and the master key of this program lie."""
    made = Path(tempfile.mkdtemp(prefix="jingyi-simulation-"))
    pack: dict[str, Any] = yaml.safe_load(PACK.read_text(encoding="utf-8"))
    for desk in DESKS:
        url = f"http://desk-{desk[-3:]}/callouts"
        pack["desks"][desk]["wire"] = {"kind": "webhook", "url": url, "secret_env": VARIABLE}
    pack["clocks"] = {"claim": 30}
    pack["on_call"]["channels"] = [CHANNEL]
    (made / f"{CITY}.yaml").write_text(yaml.safe_dump(pack, allow_unicode=True), encoding="utf-8")
    (made / "master.keys").write_text(f"1 {base64.b64encode(bytes(range(32))).decode()}\n")
    os.environ |= {VARIABLE: SECRET, CHANNEL: "json://simulated"}
    channels.is_usable = usable
    context = ssl.create_default_context()
    ssl.create_default_context = lambda *_, **__: context  # reading the certificates takes 18 ms a process
    return made


@cache
def settings(program: str, programs: tuple[str, ...]) -> Settings:
    """What a program is told by its surroundings, among these."""
    made = folder()
    told = Settings(
        env="development",
        cities=made,
        master_keys=made / "master.keys",
        public_url=f"http://{program}",
        doors={name: f"http://{name}" for name in programs if name != program},
        journal=made / "journal",
    )
    told.check()
    return told
