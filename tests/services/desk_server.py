"""A desk's server as tests need it: it keeps what it was sent, and then does exactly what it was told to."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Desk:
    """A desk's server: keeps what it was sent, then does what it was told to."""

    reply: Reply
    port: int = 0
    heads: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(cast("asyncio.Task[None]", asyncio.current_task()))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                named = (line.split(": ", 1) for line in head[1:] if line)
                self.heads.append({name.lower(): value for name, value in named})
                self.bodies.append(await reader.readexactly(int(self.heads[-1].get("content-length", "0"))))
                await self.reply(reader, writer)
        writer.transport.abort()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def http(status: str, body: bytes, *headers: str) -> Reply:
    """An honest HTTP response."""

    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers])
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return reply


def says(**answer: str) -> Reply:
    return http("200 OK", json.dumps(answer).encode())


@contextlib.asynccontextmanager
async def serving(reply: Reply, tls: ssl.SSLContext | None = None) -> AsyncIterator[Desk]:
    """A desk that listens on a port of its own."""
    made = Desk(reply)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
        await server.wait_closed()
