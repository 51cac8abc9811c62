"""A whole system in a folder of its own: found by others, alone in its folder, gone without a trace of a process."""

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis

from deploy.local import bootstrap, folders, record, topics
from deploy.local.ports import Ports, available
from deploy.local.system import DESKS, SERVICES, Plan, system
from deploy.local.trouble import Trouble

STARTER = str(Path(__file__).with_name("platform_only.py"))


async def test_the_platform_comes_up_with_its_topics_and_survives_a_kill(tmp_path: Path) -> None:
    async with system(tmp_path, items=Plan.platform) as running:
        assert await topics.differences(running.kafka, topics.listed()) == ()
        before = running.pids["valkey"]
        running.kill("valkey")
        await running.until_ready("valkey")
        client = Redis.from_url(running.redis_url)
        assert await client.ping()
        await client.aclose()
        assert running.pids["valkey"] != before
        note = record.find(tmp_path)
        assert note
        assert note["programs"]["valkey"]["restarts"] == 1
    assert record.find(tmp_path) is None


async def test_secrets_are_kept_from_run_to_run_and_from_other_people(tmp_path: Path) -> None:
    told = []
    for _ in range(2):
        async with system(tmp_path, items=lambda plan: ()) as running:
            environment = running.plan.environment("desk_110")
            told.append({name: value for name, value in environment.items() if "SECRET" in name or "TOKEN" in name})
    assert told[0] == told[1]
    assert told[0]["JINGYI_SECRET"] == told[0]["JINGYI_SECRET_140700_110"]
    secret = [*tmp_path.glob("*.secret"), *tmp_path.glob("*.token"), tmp_path / "master.keys"]
    assert len(secret) == len(DESKS) + len(SERVICES) + 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


async def test_s12_what_a_system_writes_is_for_its_owner_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    async with system(tmp_path, items=Plan.platform):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        for kind in ("valkey/**/*.aof", "kafka/**/*.index", "kafka/**/0*.log"):
            assert {path.stat().st_mode & 0o077 for path in tmp_path.glob(kind)} == {0}


async def test_d19_a_look_at_a_system_names_no_page_that_is_not_there(tmp_path: Path) -> None:
    async with system(tmp_path, items=lambda plan: ()):
        look = ("-m", "deploy.cli.main", "status", "--state", str(tmp_path))
        asked = await asyncio.create_subprocess_exec(sys.executable, *look, stdout=asyncio.subprocess.PIPE)
        said, _ = await asked.communicate()
    assert (asked.returncode, "auditor" in said.decode()) == (0, True)
    assert b"http" not in said


def test_d19_the_state_folder_may_move_and_the_tools_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else data on another disk finds no Kafka there, or set-up downloads it again."""
    before = folders.tools()
    monkeypatch.setenv("JINGYI_STATE", str(tmp_path))
    assert (folders.tools(), folders.run()) == (before, tmp_path / "run")
    assert before == bootstrap.TOOLS


async def test_a_second_system_stays_away_from_a_folder_in_use(tmp_path: Path) -> None:
    async with system(tmp_path, items=lambda plan: ()) as running:
        with pytest.raises(record.AlreadyRunning):
            async with system(tmp_path, items=lambda plan: ()):
                pass
        assert record.find(running.state) is not None


async def test_a_port_that_is_taken_is_named_with_its_holder_and_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = replace(Ports.free(), dispatch=squatter.getsockname()[1])
        with pytest.raises(Trouble, match=rf"dispatch is taken by .*{os.getpid()}.*--port dispatch=") as trouble:
            async with system(tmp_path, taken, items=Plan.platform):
                pass
    assert str(trouble.value).count(". ") == 0


def test_ports_are_chosen_by_name() -> None:
    ports = Ports.chosen({"JINGYI_PORT_KAFKA": "29092"}, {"valkey": 26379})
    assert (ports.kafka, ports.valkey, ports.dispatch) == (29092, 26379, 8103)
    with pytest.raises(Trouble, match="There is no port named redis"):
        Ports.chosen({}, {"redis": 1})
    with pytest.raises(Trouble, match="JINGYI_PORT_KAFKA=lots is no port number"):
        Ports.chosen({"JINGYI_PORT_KAFKA": "lots"}, {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_however_a_run_ends_no_process_is_left(tmp_path: Path, number: signal.Signals) -> None:
    async with started(tmp_path) as (starter, children):
        starter.send_signal(number)
        code = await asyncio.wait_for(starter.wait(), 20)
        _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=5)
    assert alive == []
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert record.find(tmp_path) is None


async def test_what_was_killed_starts_again_on_its_own_data(tmp_path: Path) -> None:
    for _ in range(2):
        async with started(tmp_path) as (starter, _):
            starter.kill()


@asynccontextmanager
async def started(state: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[psutil.Process]]]:
    starter = await asyncio.create_subprocess_exec(
        sys.executable, STARTER, str(state), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said = await asyncio.wait_for(up(starter), 60)
        children = psutil.Process(starter.pid).children(recursive=True)
        assert len(children) == 3, said
        yield starter, children
    finally:
        if starter.returncode is None:
            starter.kill()
        await starter.wait()


async def up(starter: asyncio.subprocess.Process) -> str:
    """What it says until it says that it is up."""
    assert starter.stdout
    said = ""
    async for line in starter.stdout:
        said += line.decode()
        if "Everything is up" in said:
            break
    return said


def test_free_ports_are_free_and_all_different() -> None:
    ports = list(asdict(Ports.free()).values())
    assert len(set(ports)) == len(ports)
    assert all(available(port) for port in ports)
