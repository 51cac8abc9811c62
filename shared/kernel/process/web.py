"""The HTTP side of a service: who asks, why once, and what is refused."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID, uuid4, uuid5

from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from shared.contract.city import Cities, City
from shared.contract.event import Rejected
from shared.contract.terms import ActorId
from shared.kernel.machine.keeper import NAMES, IdempotencyKey
from shared.kernel.process.layers import LAYERS, Bearer
from shared.kernel.process.problem import PROBLEMS

KEY = re.compile(r"^[\x21-\x7e]{1,128}$")


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


class ActorNeeded(Unauthorised):
    """Somebody with the staff token who does not say who acts."""

    def __init__(self) -> None:
        super().__init__("actor_needed", "Say who acts: a staff or seat number in the header X-Actor.")


UNNAMED = "unnamed"
"""Who acts where nobody said it in a form that can be kept."""


class _StaffBearer(Bearer):
    """A dependency: the number of whoever acts, who shows the staff token; `UNNAMED` without a usable one."""

    async def __call__(
        self,
        request: Request,
        authorization: Annotated[str, Header(description="Bearer token of the staff API")] = "",
        x_actor: Annotated[str, Header(description="Staff or seat number of who acts, e.g. seat-1")] = "",
    ) -> str:
        self.named(request.app, authorization)
        return x_actor if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", x_actor) else UNNAMED


AnyActor = Annotated[ActorId, Depends(_StaffBearer("staff", lambda app: {"staff": app.state.token}))]
"""The authenticated staff or seat number behind a request that must not be lost for want of one."""


async def _named(actor: AnyActor) -> str:
    if actor == UNNAMED:
        raise ActorNeeded
    return actor


Actor = Annotated[ActorId, Depends(_named)]
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


async def _any_key(request: Request, actor: AnyActor, idempotency_key: Key = "") -> AskedKey:
    made_up = not KEY.fullmatch(idempotency_key)
    act = request_id(actor, request.method, request.url.path, str(uuid4()) if made_up else idempotency_key)
    fingerprint = request.app.state.fingerprints.fingerprint(act, await request.body())
    return AskedKey(IdempotencyKey(act, fingerprint, actor=actor), made_up)


AnyKey = Annotated[AskedKey, Depends(_any_key)]
"""What a request is learnt under, where one without a key must not be lost: its own, or one of ours."""


async def _asked(request: Request, _: Actor, asked: AnyKey) -> IdempotencyKey:
    # A PUT again without a key is another act, of which its machine knows that it is no news.
    if asked.made_up and (request.method != "PUT" or request.headers.get("idempotency-key")):
        raise KeyNeeded
    return asked.key


def request_id(actor: str, method: str, path: str, idempotency_key: str) -> UUID:
    """The id under which a request is learnt: the same actor's same key on the same route is the same request."""
    return uuid5(NAMES, f"{actor}|{method}|{path}|{idempotency_key}")


ActKey = Annotated[IdempotencyKey, Depends(_asked)]
"""What a request is learnt under: its Idempotency-Key, scoped to actor and route."""


def application(name: str, token: str, ready: Callable[[], Awaitable[tuple[int, dict[str, Any]]]]) -> FastAPI:
    """An application with health, errors and limits, to which a service adds its routes."""
    app = FastAPI(
        title=f"Jingyi 警医 — {name}",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        exception_handlers=PROBLEMS,
    )
    app.state.token = token
    for layer in LAYERS:
        app.add_middleware(layer)

    @app.get("/health/live", include_in_schema=False)
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", include_in_schema=False)
    async def readiness() -> JSONResponse:
        status, body = await ready()
        return JSONResponse(body, status)

    return app
