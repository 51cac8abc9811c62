"""What desks and callers wrote, on an operator's terminal: every word of it, and nothing that steers the screen."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from rich.table import Table

from deploy.cli.client import Screen, headed
from deploy.cli.trace import Span, waterfall
from deploy.local.ports import free
from tests.services.desk_server import Desk, http, serving
from tests.shape.source import ROOT

CASE = str(uuid4())
ADDRESS = "3号楼[b座]501 [/] [link=http://x.example]:pill:\x1b[2J\u202e\x9b\U000e0041\u2066\x00东"
ADDRESS_SHOWN = "3号楼[b座]501 [/] [link=http://x.example]:pill:[2J东"
CALLOUT = {
    "number": "0354110",
    "name": "晋中[red]公安",
    "script": [{"about": "[地点]", "words": ADDRESS}],
    "claimed_by": None,
}
ALARM = {
    "case": CASE,
    "desk": "140700-110",
    "number": "0354110",
    "spoken_number": "0354-482913-7",
    "because": "unaccepted",
    "ringing_since": None,
    "phase": "ringing",
    "claimed_by": None,
    "rings": ["𠮷[/]"],
    "taken": False,
}


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Desk]:
    async with serving(http("200 OK", b"")) as made:
        yield made


async def jingyi(
    service: Desk, answer: Any, *words: str, encoding: str = "utf-8", **environment: str
) -> tuple[str, int]:
    """What the command says to a terminal of that encoding, of a system whose every door gives that answer."""
    service.reply = http("200 OK", json.dumps(answer).encode())
    doors = ("HOTLINE_INTAKE", "RISK_ASSESSMENT", "DISPATCH", "RESPONDER_ADAPTER")
    where = {f"JINGYI_URL_{door}": f"http://127.0.0.1:{service.port}" for door in doors}
    where |= {"JINGYI_KAFKA": "127.0.0.1:1", "JINGYI_API_TOKEN": "t", "JINGYI_PEER_TOKEN": "t"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli.main", *words),
        cwd=ROOT,
        env=where | {"PYTHONIOENCODING": encoding, "COLUMNS": "120"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said.decode(encoding, errors="replace"), process.returncode or 0


async def test_t6_the_whole_address_is_read_out(service: Desk) -> None:
    said, code = await jingyi(service, CALLOUT, "tasks", "claim", CASE, "110")
    assert code == 0, said
    assert said.splitlines() == ["请拨打 phone  0354110  晋中[red]公安", f"[地点]  {ADDRESS_SHOWN}"]


@pytest.mark.parametrize("encoding", ["gbk", "ascii", "utf-8", "big5"])
async def test_t6_no_encoding_of_a_terminal_ends_a_command(service: Desk, encoding: str) -> None:
    for as_json in ((), ("--json",)):
        said, code = await jingyi(service, [ALARM], "alarms", *as_json, encoding=encoding)
        assert (code, "0354110" in said) == (0, True), said


async def test_s4_neither_a_table_nor_json_steers_the_screen(service: Desk) -> None:
    for as_json in ((), ("--json",)):
        said, code = await jingyi(service, [{**ALARM, "number": ADDRESS}], "alarms", *as_json)
        assert code == 0, said
        assert [mark for mark in said if not mark.isprintable() and mark != "\n"] == []


def test_s4_no_string_is_a_link_or_a_style() -> None:
    console = Screen(width=120, force_terminal=True, color_system="truecolor", highlight=False)
    table = Table("[bold]head", title="[link=http://x.example]t[/link]", box=None)
    table.add_row(ADDRESS)
    with console.capture() as captured:
        console.print(ADDRESS)
        console.print(table)
        console.print(waterfall([Span(span="a", service=ADDRESS, name=ADDRESS, start=0, end=1, error=ADDRESS)]))
    said = captured.get()
    assert "\x1b]8" not in said
    assert "\x1b[2J" not in said
    assert not set("\u202e\x9b\U000e0041\u2066\x00") & set(said)


def test_t6_a_heading_is_a_word_too(capsys: pytest.CaptureFixture[str]) -> None:
    headed("[/]", "[bold]")
    assert capsys.readouterr().out == "[/]  [bold]\n"


async def test_t6_a_log_line_is_utf8_whatever_the_locale() -> None:
    """Else one rare character in one line ends a service."""
    program = "import structlog; from shared.kernel.process.logs import speak_json; speak_json()\n"
    program += "structlog.get_logger().warning('x', why='\U0001f514𠮷')"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        cwd=ROOT,
        env={"PYTHONIOENCODING": "gbk"},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert json.loads(said)["why"] == "\U0001f514𠮷"


async def test_t7_no_proxy_stands_between_the_command_and_a_service(service: Desk) -> None:
    dead = {f"{kind}_PROXY": f"http://127.0.0.1:{free(1)[0]}" for kind in ("HTTP", "HTTPS", "ALL")}
    said, code = await jingyi(service, [], "alarms", **dead)
    assert (code, "No alarm rings." in said) == (0, True), said
