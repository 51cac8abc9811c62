"""The simulated SMS and voice gateway as tests use it: a real process, what it was told, and what came to it."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.local.ports import HOST, answers, free
from deploy.local.process import Process


@dataclass
class Gateway:
    """A running gateway; `control` is reached while it is down."""

    port: int
    control: str
    process: Process

    def url(self, person: str) -> str:
        """This person's channel, for apprise."""
        return f"json://{HOST}:{self.port}/messages/{person}"

    async def log(self, to: str | None = None) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(trust_env=False) as client:
            lines: list[dict[str, Any]] = (await client.get(f"{self.control}/log")).raise_for_status().json()
        return [line for line in lines if to in {None, line["to"]}]

    async def behave(self, **told: Any) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.post(f"{self.control}/behaviour", json=told)).raise_for_status()


@asynccontextmanager
async def gateway(state: Path) -> AsyncIterator[Gateway]:
    """A gateway of its own, gone afterwards."""
    port = free(1)[0]
    env = {"JINGYI_PORT": str(port), "JINGYI_CHANNEL_STATE": str(state)}
    argv = (sys.executable, "-m", "deploy.local.channel")
    process = await Process.start("channel", argv, log=state / "channel.log", env=env)
    try:
        await process.until_ready(lambda: answers(port), within=30)
        yield Gateway(port, (state / "control.url").read_text().strip(), process)
    finally:
        await process.stop()
