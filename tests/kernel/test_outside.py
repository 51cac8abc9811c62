"""What is said to people outside: it arrives, or we know soon that it has not; and no secret of it is ever logged."""

import asyncio
import gzip
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.ports import free
from shared.notify import channels
from tests.local.gateway import Gateway, gateway
from tests.services.desk_server import http, serving
from tests.shape.source import ROOT


@pytest_asyncio.fixture
async def channel(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway of its own, as a process."""
    async with gateway(tmp_path) as started:
        yield started


async def test_words_arrive_as_they_are(channel: Gateway) -> None:
    assert await channels.send_message([channel.url("a")], "【警医】0354-482913-7 请立即拨打 <110> 0354110 & phone now")
    assert [line["words"] for line in await channel.log()] == [
        "【警医】0354-482913-7 请立即拨打 <110> 0354110 & phone now"
    ]


async def test_one_channel_that_takes_it_is_enough_and_all_are_tried(channel: Gateway) -> None:
    dead = f"json://127.0.0.1:{free(1)[0]}/messages/b"
    assert await channels.send_message([dead, channel.url("a"), channel.url("c")], "now")
    assert {line["to"] for line in await channel.log()} == {"a", "c"}


@pytest.mark.parametrize("told", [{"down": True}, {"error": True}, {"slow": 30}])
async def test_a_channel_that_fails_or_hangs_is_a_no_within_its_time(channel: Gateway, told: dict[str, object]) -> None:
    await channel.behave(**told)
    begun = asyncio.get_running_loop().time()
    assert not await channels.send_message([channel.url("a")], "now")
    assert asyncio.get_running_loop().time() - begun < channels.WITHIN + 1


async def test_a_channel_that_hangs_holds_up_no_other_and_not_the_loop(channel: Gateway, tmp_path: Path) -> None:
    await channel.behave(slow=30)
    async with gateway(tmp_path / "other") as other, asyncio.TaskGroup() as tasks:
        hanging = [tasks.create_task(channels.send_message([channel.url("a")], "now")) for _ in range(8)]
        begun = asyncio.get_running_loop().time()
        assert await channels.send_message([other.url("b")], "now")
        assert asyncio.get_running_loop().time() - begun < 2
    assert not any(task.result() for task in hanging)


async def test_many_alarms_at_one_moment_all_get_out(channel: Gateway) -> None:
    taken = await asyncio.gather(*(channels.send_message([channel.url("a")], f"now {n}") for n in range(12)))
    assert all(taken)
    assert len(await channel.log()) == 12


async def test_an_address_that_nobody_understands_is_known_before_it_is_needed() -> None:
    assert await channels.is_usable("json://127.0.0.1:1/messages/a")
    assert not await channels.is_usable("carrier-pigeon://secret")
    assert not await channels.send_message(["carrier-pigeon://secret"], "now")
    assert not await channels.send_message([], "now")


async def test_neither_address_nor_words_are_logged(channel: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await channels.send_message([channel.url("token-1"), "json://u:token-2@127.0.0.1:1/", "token-3://x"], "password-4")
    assert not [word for word in ("token", "password", "127.0.0.1") if word in caplog.text]


RINGING = """
import sys
from opentelemetry import trace
from shared.kernel.process.program import run_process
from shared.notify import channels

async def serve(settings):
    with trace.get_tracer("test").start_as_current_span("ring"):
        assert await channels.send_message([sys.argv[1]], "now")

run_process("auditor", lambda settings: None, serve)
"""


async def rings(url: str, **environment: str) -> int:
    dead = f"http://127.0.0.1:{free(1)[0]}"
    proxies = {name: dead for each in ("http_proxy", "https_proxy", "all_proxy") for name in (each, each.upper())}
    program = (sys.executable, "-c", RINGING, url)
    process = await asyncio.create_subprocess_exec(
        *program, cwd=ROOT, env={**os.environ, "JINGYI_ENV": "development", **proxies, **environment}
    )
    return await process.wait()


async def test_t7_no_proxy_of_the_environment_comes_between(channel: Gateway) -> None:
    """Else nobody outside is rung, and no trace is kept, on a host that has one for its browsers."""
    async with serving(http("200 OK", b"")) as collector:
        assert await rings(channel.url("a"), JINGYI_OTLP=f"http://127.0.0.1:{collector.port}") == 0
        assert [line["words"] for line in await channel.log()] == ["now"]
        assert any(b"ring" in body for body in map(unpacked, collector.bodies))


async def test_t7_the_proxy_that_is_named_carries_messages_and_no_spans(channel: Gateway) -> None:
    async with serving(http("200 OK", b"")) as proxy, serving(http("200 OK", b"")) as collector:
        named = {"JINGYI_PROXY": f"http://127.0.0.1:{proxy.port}", "JINGYI_OTLP": f"http://127.0.0.1:{collector.port}"}
        assert await rings("json://somewhere.example/a", **named) == 0
        assert len(proxy.bodies) == 1
        assert collector.bodies


def unpacked(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
