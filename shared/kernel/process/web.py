"""The HTTP side of a service: who asks, why once, and errors that speak (RFC 9457 problem+json)."""

import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID, uuid4, uuid5

import structlog
from fastapi import Depends, FastAPI, Header, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from opentelemetry.trace import SpanContext, SpanKind
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.contract.city import Cities, City
from shared.contract.event import Rejected
from shared.contract.terms import ActorId
from shared.kernel import trace
from shared.kernel.errors import Malformed, Unavailable, crash_places
from shared.kernel.log.fallback.client import EVENTS, MAX_BATCH
from shared.kernel.machine.keeper import NAMES, IdempotencyKey

MAX_BODY = 65_536
"""Bytes of the largest request that is no batch of peers' events."""

CASE = re.compile(rb"/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:/|$)")
KEY = re.compile(r"^[\x21-\x7e]{1,128}$")
FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}")

CODES = {
    400: "malformed_json",
    401: "unauthorised",
    404: "no_such_path",
    405: "method_not_allowed",
    413: "too_large",
}
"""What a refusal of the framework is called."""

UNTRACED = (EVENTS.encode(), b"/health/", b"/heartbeat", b"/openapi.json")
"""Paths without a span: what anybody may ask, and peers' events."""

UNMATCHED = "unmatched"

CRASHED = (
    "服务内部错误：请马上打电话通知，并用同一个 Idempotency-Key 再提交一次。 · "
    "An error inside this service: phone them now, and send the same request again under the same Idempotency-Key."
)

SHOWN = 20
"""Errors of one body that an answer names at the most."""

log = structlog.get_logger()


class NotFound(Rejected):
    """Nothing of that name here."""

    status = 404


class UnknownCity(NotFound):
    """A city without a pack."""

    def __init__(self, code: str) -> None:
        super().__init__("unknown_city", f"There is no city pack for {code[:6]!r}. Ask the operator to add one.")


class Unauthorised(Rejected):
    """A caller who did not show the token, or did not say who acts."""

    status = 401


class BadRequest(Rejected):
    """A request that cannot be read."""

    status = 400


def city_pack(cities: Cities, code: str) -> City:
    """The pack of a city. Raises UnknownCity."""
    pack = cities.get(code)
    if pack is None:
        raise UnknownCity(code)
    return pack


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
        """Raises Unauthorised."""
        expected = {name: f"Bearer {token}".encode() for name, token in self._tokens(app).items()}
        # Every one is compared, so that the time taken does not tell which of them is nearly right.
        known = [name for name, token in expected.items() if hmac.compare_digest(authorization.encode(), token)]
        if not known:
            raise Unauthorised("unauthorised", f"Send the {self._whose} token as `Authorization: Bearer …`.")
        return known[0]


class _StaffBearer(Bearer):
    """A dependency: the number of whoever acts, who shows the staff token."""

    async def __call__(
        self,
        request: Request,
        authorization: Annotated[str, Header(description="Bearer token of the staff API")] = "",
        x_actor: Annotated[str, Header(description="Staff or seat number of who acts, e.g. seat-1")] = "",
    ) -> str:
        self.named(request.app, authorization)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", x_actor):
            raise Unauthorised("actor_needed", "Say who acts: a staff or seat number in the header X-Actor.")
        return x_actor


Actor = Annotated[ActorId, Depends(_StaffBearer("staff", lambda app: {"staff": app.state.token}))]
"""The authenticated staff or seat number behind a request."""


def requires_peer_token(tokens: Mapping[str, SecretStr]) -> Any:
    """A dependency for routes that only our own services may use: the name of the one whose token is shown."""
    named = {name: token.get_secret_value() for name, token in tokens.items()}
    return Depends(Bearer("service's own", lambda _: named))


class KeyNeeded(BadRequest):
    """An act without a key of its own: sent again, it would be another."""

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key_needed", "Send a new Idempotency-Key (1–128 visible characters) with each act."
        )


Key = Annotated[str, Header(alias="idempotency-key", description="The same key again changes nothing again")]


@dataclass(frozen=True)
class AskedKey:
    """What a request is learnt under; `made_up` here, for it came without a usable one."""

    key: IdempotencyKey
    made_up: bool


async def _any_key(request: Request, actor: Actor, idempotency_key: Key = "") -> AskedKey:
    made_up = not KEY.fullmatch(idempotency_key)
    act = request_id(actor, request.method, request.url.path, str(uuid4()) if made_up else idempotency_key)
    fingerprint = request.app.state.fingerprints.fingerprint(act, await request.body())
    return AskedKey(IdempotencyKey(act, fingerprint, actor=actor), made_up)


AnyKey = Annotated[AskedKey, Depends(_any_key)]
"""What a request is learnt under, where one without a key must not be lost: its own, or one of ours."""


async def _asked(request: Request, asked: AnyKey) -> IdempotencyKey:
    # A PUT again without a key is another act, of which its machine knows that it is no news.
    if asked.made_up and (request.method != "PUT" or request.headers.get("idempotency-key")):
        raise KeyNeeded
    return asked.key


def request_id(actor: str, method: str, path: str, idempotency_key: str) -> UUID:
    """The id under which a request is learnt: the same actor's same key on the same route is the same request."""
    return uuid5(NAMES, f"{actor}|{method}|{path}|{idempotency_key}")


ActKey = Annotated[IdempotencyKey, Depends(_asked)]
"""What a request is learnt under: its Idempotency-Key, scoped to actor and route."""


def problem_response(status: int, code: str, detail: str, **more: Any) -> JSONResponse:
    """An RFC 9457 problem; `code` is stable, `detail` says what to do."""
    body = {"type": f"urn:jingyi:problem:{code}", "title": code.replace("_", " "), "status": status, "code": code}
    return JSONResponse({**body, "detail": detail, **more}, status, media_type="application/problem+json")


async def _rejected(_: Request, refusal: Exception) -> JSONResponse:
    if not isinstance(refusal, Rejected):
        raise refusal
    return problem_response(refusal.status, refusal.code, refusal.detail)


async def _unavailable(_: Request, silence: Exception) -> JSONResponse:
    answer = problem_response(
        503, "unavailable", f"{silence} Send the same request with the same Idempotency-Key again."
    )
    answer.headers["retry-after"] = "1"
    return answer


async def _sealed(_: Request, unreadable: Exception) -> JSONResponse:
    reason = unreadable.reason if isinstance(unreadable, Malformed) else "sealed"
    return problem_response(
        503, reason, "What is kept of this case does not open here; the operator must bring its master key."
    )


async def _invalid(_: Request, invalid: Exception) -> JSONResponse:
    """What is wrong and where, without repeating what was sent: it may be personal."""
    if not isinstance(invalid, RequestValidationError):
        raise invalid
    errors = [{"where": _where(e["loc"], e["type"]), "what": e["type"]} for e in invalid.errors()[:SHOWN]]
    if any(error["what"] == "json_invalid" for error in errors):
        return problem_response(400, "malformed_json", "The body is not JSON.")
    named = "; ".join(f"{error['where']}: {error['what']}" for error in errors[:5])
    return problem_response(422, "invalid", f"Correct these and send again: {named}.", errors=errors)


def _where(path: Sequence[int | str], what: str) -> str:
    known = path[:-1] if what == "extra_forbidden" else path
    # A name that the caller made up is not repeated: it may be personal.
    return ".".join(str(part) if isinstance(part, int) or FIELD.fullmatch(part) else "…" for part in known)


async def _http(_: Request, refusal: Exception) -> JSONResponse:
    if not isinstance(refusal, HTTPException):
        raise refusal
    code = {
        400: "malformed_json",
        401: "unauthorised",
        404: "no_such_path",
        405: "method_not_allowed",
        413: "too_large",
    }.get(refusal.status_code, "refused")
    answer = problem_response(refusal.status_code, code, str(refusal.detail))
    answer.headers.update(refusal.headers or {})
    return answer


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
                for bearer in _bearers(route.dependant):
                    _check_before_body(bearer, scope)
            return await receive()

        await self._app(scope, receiving, send)


def _check_before_body(bearer: Bearer, scope: Scope) -> None:
    try:
        bearer.named(scope["app"], dict(scope["headers"]).get(b"authorization", b"").decode("latin-1"))
    except Unauthorised as stranger:  # of what is raised while a body is read, FastAPI passes on this alone
        raise HTTPException(stranger.status, stranger.detail) from None


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


def application(name: str, token: str, ready: Callable[[], Awaitable[tuple[int, dict[str, Any]]]]) -> FastAPI:
    """An application with health, errors and limits, to which a service adds its routes."""
    app = FastAPI(
        title=f"Jingyi 警医 — {name}",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers={
            Rejected: _rejected,
            Unavailable: _unavailable,
            Malformed: _sealed,
            RequestValidationError: _invalid,
            HTTPException: _http,
        },
    )
    app.state.token = token
    for layer in (
        TokenBeforeBody,
        BodyLimit,
        CrashAnswer,
        RequestTracing,
        TrailingSlash,
    ):  # the last sees a request first
        app.add_middleware(layer)

    @app.get("/health/live", include_in_schema=False)
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", include_in_schema=False)
    async def readiness() -> JSONResponse:
        status, body = await ready()
        return JSONResponse(body, status)

    return app
