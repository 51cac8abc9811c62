"""The supervisor starts real programs in order, keeps them up, and leaves none behind."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy.local.ports import free
from deploy.local.supervisor import Program, State, Step, Supervisor, answers_ready
from deploy.local.trouble import Trouble

TINY = str(Path(__file__).with_name("tiny.py"))


def tiny(name: str, *, needs: tuple[str, ...] = (), word: str = "") -> Program:
    [port] = free(1)
    return Program(name, (sys.executable, "-S", TINY, str(port), word), answers_ready(port), needs, port=port)


async def until(supervisor: Supervisor, name: str, state: State) -> None:
    async with asyncio.timeout(10):
        while supervisor.standings[name].state != state:
            await asyncio.sleep(0.02)


async def test_each_program_waits_for_what_it_needs_and_ends_before_it(tmp_path: Path) -> None:
    heard: list[tuple[str, State]] = []

    async def step() -> None:
        assert ("kafka", State.READY) in heard

    items: list[Program | Step] = [
        tiny("desk", needs=("topics",)),
        Step("topics", step, needs=("kafka",)),
        tiny("kafka"),
    ]
    supervisor = Supervisor(items, tmp_path, lambda s: heard.append((s.item.name, s.state)))
    await supervisor.start()
    await supervisor.stop()
    assert [name for name, state in heard if state in (State.READY, State.DONE)] == ["kafka", "topics", "desk"]
    assert [name for name, state in heard if state == State.STOPPED] == ["desk", "kafka"]


async def test_a_killed_program_is_up_again_and_later_each_time(tmp_path: Path) -> None:
    supervisor = Supervisor([tiny("service")], tmp_path)
    await supervisor.start()
    standing, took = supervisor.standings["service"], []
    for _ in range(3):
        before = standing.pid
        begun = time.monotonic()
        assert before
        os.kill(before, signal.SIGKILL)
        await until(supervisor, "service", State.RESTARTING)
        await until(supervisor, "service", State.READY)
        took.append(time.monotonic() - begun)
        assert standing.pid not in (None, before)
    await supervisor.stop()
    assert standing.restarts == 3
    assert took[2] > took[0] + 0.3


async def test_a_program_that_will_not_end_is_ended(tmp_path: Path) -> None:
    supervisor = Supervisor([tiny("deaf", word="stubborn")], tmp_path)
    await supervisor.start()
    process = supervisor.standings["deaf"].process
    assert process
    for guard in supervisor.guards:
        guard.cancel()
    await process.stop(grace=0.2)
    assert process.returncode == -signal.SIGKILL


async def test_a_program_that_ends_at_once_is_named_with_its_last_words(tmp_path: Path) -> None:
    broken = Program("dispatch", (sys.executable, "-c", "raise SystemExit('no city pack')"), answers_ready(free(1)[0]))
    supervisor = Supervisor([tiny("kafka"), broken], tmp_path)
    with pytest.raises(Trouble, match=r"dispatch ended at once \(exit code 1\): no city pack"):
        await supervisor.start()
    await supervisor.stop()
    assert [standing.pid for standing in supervisor.standings.values()] == [None, None]


async def test_t13_a_start_that_one_ending_meets_goes_on_and_wrong_settings_end_it_at_once(tmp_path: Path) -> None:
    [port] = free(1)
    began = tmp_path / "began"
    ends_once = f"import os, sys; p = {str(began)!r}; os.path.exists(p) or (open(p, 'w'), sys.exit(1))"
    twice = f"{ends_once}; os.execv(sys.executable, [sys.executable, '-S', {TINY!r}, '{port}'])"
    supervisor = Supervisor([Program("kafka", (sys.executable, "-c", twice), answers_ready(port))], tmp_path)
    await supervisor.start()
    await supervisor.stop()
    ends_wrong = "import sys; print('began', flush=True); sys.exit(2)"
    wrong = Program("intake", (sys.executable, "-c", ends_wrong), answers_ready(port))
    supervisor = Supervisor([wrong], tmp_path)
    with pytest.raises(Trouble, match=r"intake ended at once \(exit code 2\): began \(log"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_program_that_stays_silent_is_named(tmp_path: Path) -> None:
    silent = Program("kafka", ("sleep", "60"), answers_ready(free(1)[0]), within=0.3)
    supervisor = Supervisor([silent], tmp_path)
    with pytest.raises(Trouble, match="kafka did not answer within"):
        await supervisor.start()
    await supervisor.stop()


async def test_nothing_survives_when_whoever_started_it_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "starter.py"
    script.write_text(
        "import asyncio, pathlib, sys\n"
        "from deploy.local.process import Process\n"
        "async def main():\n"
        "    child = await Process.start('sleeper', ['sleep', '600'], log=pathlib.Path(sys.argv[1]))\n"
        "    print(child.pid, flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(main())\n"
    )
    starter = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(tmp_path / "log"), stdout=asyncio.subprocess.PIPE
    )
    assert starter.stdout
    sleeper = psutil.Process(int(await starter.stdout.readline()))
    starter.kill()
    await starter.wait()
    gone, _ = await asyncio.to_thread(psutil.wait_procs, [sleeper], timeout=5)
    assert gone == [sleeper]
