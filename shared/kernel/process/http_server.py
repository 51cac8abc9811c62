"""uvicorn, with bounds on what is unfinished, so that there is always room for the next one who calls."""

import contextlib
import resource
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Any

import httptools
import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from shared.kernel.process.problem import problem_response
from shared.kernel.process.settings import Settings

MAX_HEAD = 65_536
"""Bytes of a request that are not its body: its line, its headers, the framing of its chunks."""

WITHIN = 10
"""Seconds for a whole head, then for a whole body, and for a client to read on: those in which the loop could run."""

KEEP_ALIVE = 75
"""Seconds that an answered connection stays open: longer than clients keep one to send on."""

MOST = 10_000
"""Connections at the most, if there are descriptors for twice as many: the other half is for what a request needs."""

BACKLOG = 128
"""Connections that the system accepts ahead of us, so that no burst of them takes every descriptor."""

HEADERS = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
"""Of every answer: what is said of a caller is kept nowhere on the way."""

log = structlog.get_logger()


class Connections(ServerState):
    """The open connections. Those that wait for a whole request stand by the address that holds them, oldest first."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._waiting: defaultdict[str, OrderedDict[BoundedProtocol, None]] = defaultdict(OrderedDict)

    def make_room(self) -> None:
        """Above the most, the address with the most waiting connections loses the one that has waited longest."""
        if len(self.connections) > self._most and self._waiting:
            oldest, _ = max(self._waiting.values(), key=len).popitem(last=False)
            oldest.transport.abort()

    def note_waiting(self, connection: "BoundedProtocol") -> None:
        self._waiting[connection.peer][connection] = None
        self._waiting[connection.peer].move_to_end(connection)

    def note_working(self, connection: "BoundedProtocol") -> None:
        """It has a whole request in work, or is closed."""
        held = self._waiting[connection.peer]
        held.pop(connection, None)
        if not held:
            del self._waiting[connection.peer]


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with bounds on a request's head and on the time for it. An offer to upgrade is passed over."""

    server_state: Connections

    def connection_made(self, transport: Any) -> None:
        self._head = self._overdue = 0
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self.server_state.make_room()
        self.server_state.note_waiting(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.note_working(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._head += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if self._head <= MAX_HEAD:
                self._refuse(400, "malformed_http", "This is no HTTP/1.1 request. Correct it and send again.")
        if self._head > MAX_HEAD:
            self._refuse(431, "head_too_large", f"The headers have more than {MAX_HEAD} bytes. Send less.")

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if self._head > MAX_HEAD and sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD:
            raise httptools.HttpParserError
        self._overdue = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._head = 0
        super().on_message_complete()
        if self._in_work:
            self.server_state.note_working(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_work:
            self.server_state.note_waiting(self)

    def resume_writing(self) -> None:
        self._overdue = 0
        super().resume_writing()

    def look(self) -> None:
        """Called each second: a request that is not whole in time is refused, and a client that stopped reading left.

        Looks are counted, not seconds: while this process stands still nobody else is late.
        """
        ours = self.flow.read_paused or (self._in_work and not self.flow.write_paused)
        self._overdue = 0 if ours or self.timeout_keep_alive_task else self._overdue + 1
        if self._overdue <= WITHIN:
            return
        if self._head and not self.transport.is_closing():
            self._refuse(408, "too_slow", f"The request was not whole within {WITHIN} s. Send it again.")
        else:
            self.transport.abort()

    @property
    def _in_work(self) -> bool:
        return bool(self.cycle) and not (self.cycle.more_body or self.cycle.response_complete)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            # The parser leaves the body to whoever upgrades: nobody does, so it reads the request again without that.
            line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
            headers = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
            if line.startswith(b"CONNECT"):
                raise httptools.HttpParserInvalidMethodError from offer
            self.parser = httptools.HttpRequestParser(self)
            self._feed(b"\r\n".join((line, *headers, b"", data[offer.args[0] :])))

    def _refuse(self, status: int, code: str, detail: str) -> None:
        if not self._in_work:
            answer = problem_response(status, code, detail)
            headers = [*self.server_state.default_headers, *answer.raw_headers, (b"connection", b"close")]
            lines = [b"%s: %s\r\n" % header for header in headers]
            self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", bytes(answer.body))))
        self.transport.close()


class HttpServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process stops in our order."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = Connections(min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            for connection in tuple(self.server_state.connections):
                assert isinstance(connection, BoundedProtocol)
                connection.look()
        return await super().on_tick(counter)


def http_server(app: FastAPI, settings: Settings) -> HttpServer:
    """A server for the application, not yet running."""
    quiet: dict[str, Any] = {"log_config": None, "access_log": False, "lifespan": "off", "proxy_headers": False}
    bounds: dict[str, Any] = {"http": BoundedProtocol, "ws": "none", "timeout_keep_alive": KEEP_ALIVE}
    own: dict[str, Any] = {"backlog": BACKLOG, "server_header": False, "headers": HEADERS}
    return HttpServer(
        uvicorn.Config(app, settings.host, settings.port, timeout_graceful_shutdown=3, **quiet, **bounds, **own)
    )


def raise_descriptors() -> None:
    """As many descriptors as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system may say more than it gives
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    log.info("descriptors", at_start=soft, now=resource.getrlimit(resource.RLIMIT_NOFILE)[0])
