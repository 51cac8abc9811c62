"""A listening port that can be shut while the process lives on, so that a desk can be down and come back."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from deploy.local.ports import HOST
from deploy.local.trouble import Trouble, explain


class Server(uvicorn.Server):
    """A server that leaves signals to the process: it may have more than one door."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Door:
    """Opens and shuts one port. While it is shut connections are refused, and those there were are cut."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app, self.port = app, port
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._moving = asyncio.Lock()

    async def stand(self, open: bool) -> None:
        """Be open, or shut; returns once it is so. Trouble if the port is taken."""
        async with self._moving:
            if open and self._server is None:
                await self._open()
            elif not open and self._server is not None:
                await self._shut(self._server)

    async def _open(self) -> None:
        listening = bound(self.port)
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._app, lifespan="off", log_level="critical", access_log=False, timeout_graceful_shutdown=0
        )
        self._server = Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:  # noqa: ASYNC110 -- uvicorn offers no event to wait for
            await asyncio.sleep(0.01)

    async def _shut(self, server: Server) -> None:
        server.should_exit = True
        for listening in server.servers:  # refuse from now on, not from the server's next tick
            listening.close()
        if self._serving is not None:
            await self._serving
        self._server = self._serving = None


def bound(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as refused:
        raise Trouble(explain(refused, f"opening port {port}")) from None
    return listening
