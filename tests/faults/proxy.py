"""A wire that can be spoilt: a TCP proxy before a desk, a store or a broker, told at any moment how to misbehave."""

import asyncio
import socket
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from deploy.local.ports import HOST

BLOCK = 65_536
DRIP = 0.4
"""Seconds between two bytes of a slow reply."""

MOVED = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"
RST_AT_CLOSE = struct.pack("ii", 1, 0)


class Wire(StrEnum):
    """How the wire is. Connections that stand already follow a change at their next block."""

    WHOLE = "whole"
    REFUSED = "refused"
    BLACKHOLE = "blackhole"
    RESET_AFTER_REQUEST = "reset after request"
    CUT_BEFORE_REPLY = "cut before reply"
    HALF_A_REPLY = "half a reply"
    SLOW_DRIP = "slow drip"
    REDIRECT = "redirect"
    SLICED = "1-byte slices"
    LATENCY = "latency"
    HALF_OPEN = "half open"


SILENT = frozenset({Wire.BLACKHOLE, Wire.HALF_OPEN})


@dataclass(eq=False)
class Proxy:
    """From `port` to `target`. `how` says what becomes of each block; `latency` is seconds each way."""

    port: int
    target: int
    how: Wire = Wire.WHOLE
    latency: float = 0.0
    tls: ssl.SSLContext | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def behave(self, how: Wire, latency: float = 0.0) -> None:
        """From now on. A refusal, or the end of one, also cuts what stands."""
        self.how, self.latency = how, latency
        if how is Wire.REFUSED:
            await self.shut()
        elif self._server is None:
            await self.open()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._met, HOST, self.port, ssl=self.tls, reuse_address=True)

    async def shut(self) -> None:
        """Nobody listens any more, and whoever was connected is cut off; who came just then, at their first block."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset every connection that stands."""
        for writer in list(self._open):
            _reset(writer)
        for serving in list(self._serving):
            serving.cancel()

    async def close(self) -> None:
        await self.shut()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError):
                answers, there = await asyncio.open_connection(HOST, self.target)
                self._open.add(there)
                _undelayed(writer)
                _undelayed(there)
                onward = asyncio.create_task(self._carry(reader, there, writer, replies=False))
                await self._carry(answers, writer, writer, replies=True)
                onward.cancel()
                await asyncio.gather(onward, return_exceptions=True)
        finally:
            for end in (writer, there):
                if end is not None:
                    self._open.discard(end)
                    end.close()

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, near: asyncio.StreamWriter, *, replies: bool
    ) -> None:
        """Block by block, as the wire is at that moment; `near` is the connection of who called."""
        with suppress(OSError, ssl.SSLError):
            while block := await source.read(BLOCK):
                if self.how in SILENT:
                    continue
                if self.how is Wire.LATENCY:
                    await asyncio.sleep(self.latency)
                if self._spoils(near, replies=replies):
                    return
                await self._pass(block, sink, replies=replies)
                if replies and self.how is Wire.HALF_A_REPLY:
                    return
        with suppress(OSError, RuntimeError):
            if sink.can_write_eof():
                sink.write_eof()

    def _spoils(self, near: asyncio.StreamWriter, *, replies: bool) -> bool:
        """Whether this block goes nowhere, and the connection with it."""
        if self.how is Wire.REFUSED or (self.how is Wire.RESET_AFTER_REQUEST and not replies):
            _reset(near)
            return True
        if self.how is Wire.CUT_BEFORE_REPLY and replies:
            _reset(near)
            return True
        if self.how is Wire.REDIRECT and not replies:
            near.write(MOVED)
            return True
        return False

    async def _pass(self, block: bytes, sink: asyncio.StreamWriter, *, replies: bool) -> None:
        if self.how is Wire.HALF_A_REPLY and replies:
            sink.write(block[: len(block) // 2])
            await sink.drain()
            sink.close()
        elif self.how is Wire.SLICED or (self.how is Wire.SLOW_DRIP and replies):
            for at in range(len(block)):
                sink.write(block[at : at + 1])
                await sink.drain()
                await asyncio.sleep(DRIP if self.how is Wire.SLOW_DRIP else 0)
        else:
            sink.write(block)
            await sink.drain()


def _undelayed(writer: asyncio.StreamWriter) -> None:
    held = writer.get_extra_info("socket")
    if held is not None:
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End it with RST, not FIN."""
    held = writer.get_extra_info("socket")
    if held is not None:
        with suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_AT_CLOSE)
    writer.transport.abort()
