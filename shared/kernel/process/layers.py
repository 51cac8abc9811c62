"""What every request passes before its route: whose it is, how much of it, in which trace, and what if it crashes."""

import hmac
import re
from collections.abc import Callable, Mapping
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import FastAPI, Header, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from opentelemetry.trace import SpanContext, SpanKind
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.kernel import trace
from shared.kernel.errors import crash_places
from shared.kernel.log.fallback.client import EVENTS, MAX_BATCH
from shared.kernel.process.problem import problem_response

MAX_BODY = 65_536
"""Bytes of the largest request that is no batch of peers' events."""

CASE = re.compile(rb"/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:/|$)")

UNTRACED = (EVENTS.encode(), b"/health/", b"/heartbeat", b"/openapi.json")
"""Paths without a span: what anybody may ask, and peers' events."""

UNMATCHED = "unmatched"

CRASHED = (
    "服务内部错误：请马上打电话通知，并用同一个 Idempotency-Key 再提交一次。 · "
    "An error inside this service: phone them now, and send the same request again under the same Idempotency-Key."
)

log = structlog.get_logger()


class Bearer:
    """A dependency: the name of whoever shows a token. It is looked at before the body is read, too."""

    def __init__(self, whose: str, tokens: Callable[[FastAPI], Mapping[str, str]]) -> None:
        self._whose = whose
        self._tokens = tokens

    async def __call__(
        self, request: Request, authorization: Annotated[str, Header(description="Bearer token of our services")] = ""
    ) -> str:
        return self.named(request.app, authorization)

    def named(self, app: FastAPI, authorization: str) -> str:
        """Raises HTTPException: of what is raised while a body is read, FastAPI passes on this alone."""
        expected = {name: f"Bearer {token}".encode() for name, token in self._tokens(app).items()}
        # Every one is compared, so that the time taken does not tell which of them is nearly right.
        known = [name for name, token in expected.items() if hmac.compare_digest(authorization.encode(), token)]
        if not known:
            raise HTTPException(401, f"Send the {self._whose} token as `Authorization: Bearer …`.")
        return known[0]


class BodyLimit:
    """Refuses a request that is too long: before any of it is read if it says so itself, else as it comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._most = {most: RequestBodyLimitMiddleware(app, max_body_size=most) for most in (MAX_BODY, MAX_BATCH)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = MAX_BATCH if scope.get("path") == EVENTS else MAX_BODY
        length = dict(scope.get("headers", ())).get(b"content-length", b"0")
        if scope["type"] == "http" and length.isdigit() and int(length) > most:
            answer = problem_response(413, "too_large", f"The body has more than {most} bytes. Send less.")
            return await answer(scope, receive, send)
        return await self._most[most](scope, receive, send)


class TokenBeforeBody:
    """Looks at the token when the body is first asked for: FastAPI reads and parses it before any dependency."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receiving() -> Message:
            route = scope.get("route")
            if isinstance(route, APIRoute):
                shown = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
                for bearer in _bearers(route.dependant):
                    bearer.named(scope["app"], shown)
            return await receive()

        await self._app(scope, receiving, send)


def _bearers(dependant: Dependant) -> set[Bearer]:
    asked = {needed.call for needed in dependant.dependencies if isinstance(needed.call, Bearer)}
    return asked.union(*map(_bearers, dependant.dependencies))


class TrailingSlash:
    """A path means the same with a slash behind it: a redirect would lose the body, and with it a call for help."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            plain = {"path": scope["path"].rstrip("/") or "/", "raw_path": scope["raw_path"].rstrip(b"/") or b"/"}
            scope = {**scope, **plain}
        await self._app(scope, receive, send)


class CrashAnswer:
    """What nobody expected is logged by type and place, and answered with what to do; never with what it was about."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            return
        except Exception as crash:
            trace.mark_failed(crash)
            case = _case(scope)
            log.error("request_crashed", at=crash_places(crash), route=_route(scope), case=case and str(case))  # noqa: TRY400
            if started:
                raise
            await problem_response(500, "crashed", CRASHED)(scope, receive, send)


class RequestTracing:
    """One server span a request, in the trace of the case that its path names; PUT on a call opens the trace.

    Peers' events have none: each brings the span it was told in. Whoever asks without a token, or for what is not
    there, adds nothing to a trace that is not theirs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["raw_path"].startswith(UNTRACED):
            return await self._app(scope, receive, send)
        case, method, status = _case(scope), scope["method"], 0
        within = trace.case_root(case) if case else _given(scope)
        if case and method == "PUT":
            with trace.opening_case(case):
                started = trace.tracer().start_span("PUT", kind=SpanKind.SERVER)
        else:
            started = trace.start_span(method, within, SpanKind.SERVER, {})

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            with trace.use_span(started):
                await self._app(scope, receive, sending)
        finally:
            route = _route(scope)
            asked_nobody = route == UNMATCHED or status == 405
            if status != 401 and not (asked_nobody and within.is_valid):
                started.update_name(f"{method} {route}")
                started.set_attributes({"http.request.method": method, "http.route": route})
                if status:
                    started.set_attribute("http.response.status_code", status)
                started.end()
        return None


def _case(scope: Scope) -> UUID | None:
    named = CASE.search(scope["raw_path"])
    return UUID(named.group(1).decode()) if named else None


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", UNMATCHED))


def _given(scope: Scope) -> SpanContext:
    """The context that the request brings; two of them are none."""
    parents = [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]
    states = [value.decode("latin-1") for name, value in scope["headers"] if name == b"tracestate"]
    return trace.parse_traceparent(parents[0] if len(parents) == 1 else None, states)


LAYERS = (TokenBeforeBody, BodyLimit, CrashAnswer, RequestTracing, TrailingSlash)
"""Innermost first: the last sees a request first."""
