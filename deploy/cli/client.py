"""How a person's commands reach the services: over their HTTP APIs, each act once, however often it has to be sent."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import UUID, uuid4

import httpx
import typer
from rich.console import Console
from rich.text import Text

from deploy.local import folders, record
from deploy.local.credentials import API_TOKEN, PEER_TOKENS
from deploy.local.ports import HOST
from deploy.local.trouble import Trouble
from shared.contract.shown import shown_text
from shared.kernel.process.tokens import fits_header, stripped_text

T = TypeVar("T")

INTAKE, RISK, DISPATCH, ADAPTER = "hotline_intake", "risk_assessment", "dispatch", "responder_adapter"
AUDITOR = "auditor"
GIVE_UP_AFTER = 15.0
"""Seconds for which one act is sent again, under its own key, while nobody answers."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
STAFF, PEERS = "JINGYI_API_TOKEN", "JINGYI_PEER_TOKENS"
UNHEARD = frozenset({502, 503, 504})


class Screen(Console):
    """A terminal on which words are words: nothing in a string is markup, an emoji's name, a link or an escape."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Each line as it may be seen; styles are given beside the words."""
        return super().render_str(seen(text), **{**how, "markup": False, "emoji": False})


console = Screen(highlight=False, soft_wrap=True)


class Refused(Trouble):
    """A service said no; `code` is its stable word, the text its sentence."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Whereabouts:
    """Where a running system is. The token is shown to the services and never printed."""

    urls: Mapping[str, str]
    kafka: str
    token: str = field(repr=False)
    peer_tokens: Mapping[str, str] = field(repr=False, default_factory=dict)


def whereabouts(state: Path | None = None) -> Whereabouts:
    """The system that the environment names (JINGYI_URL_…, JINGYI_KAFKA, JINGYI_API_TOKEN), else the one in `state`."""
    home = state or folders.run()
    note = record.find(home) or {}
    urls = {**note.get("urls", {}), **_named_by_environment()}
    kafka = os.environ.get("JINGYI_KAFKA") or _kafka_of(note)
    if not kafka or not {INTAKE, RISK, DISPATCH, ADAPTER} <= urls.keys():
        raise Trouble(f"Nothing runs in {home}; `make run` starts it, and `make demo` plays one joint response.")
    staff = os.environ.get(STAFF) or _text_of(home / API_TOKEN, STAFF)
    return Whereabouts(urls, kafka, _as_shown(STAFF, staff), _peer_tokens(home))


def _named_by_environment() -> dict[str, str]:
    named = {name: os.environ.get(f"JINGYI_URL_{name.upper()}") for name in (INTAKE, RISK, DISPATCH, ADAPTER, AUDITOR)}
    return {name: url.rstrip("/") for name, url in named.items() if url}


def _kafka_of(note: Mapping[str, Any]) -> str | None:
    port = note.get("programs", {}).get("kafka", {}).get("port")
    return f"{HOST}:{port}" if port else None


def _text_of(token: Path, variable: str) -> str:
    try:
        return token.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise Trouble(f"The token in {token} cannot be read; set {variable}.") from None


def _peer_tokens(home: Path) -> dict[str, str]:
    """Each service's own, where it is known here; only who tells a service something again needs them."""
    try:
        named = dict(json.loads(os.environ.get(PEERS) or "{}"))
    except ValueError:
        raise Trouble(f'{PEERS} is not JSON; write it as {{"dispatch": "…", …}}.') from None
    kept = {path.stem.removeprefix("peer-"): path for path in home.glob(PEER_TOKENS)}
    known = named or {name: _text_of(path, PEERS) for name, path in kept.items()}
    return {name: _as_shown(PEERS, str(token)) for name, token in known.items()}


def _as_shown(variable: str, told: str) -> str:
    token = stripped_text(told)
    if not fits_header(token):
        raise Trouble(f"{variable} has a space or a character that no header carries; set it to the service's own.")
    return token


@dataclass(frozen=True)
class Client:
    """One person's line to the services; `actor` is their staff or seat number."""

    where: Whereabouts
    http: httpx.AsyncClient
    actor: str

    def acting(self, actor: str) -> "Client":
        """The same line, used by somebody else."""
        return Client(self.where, self.http, actor)

    async def get(self, service: str, path: str) -> Any:
        """What a service shows. Raises Refused, or Trouble when nobody answers."""
        return await self._send("GET", service, path, None, {})

    async def put(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        return await self._send("PUT", service, path, body, {})

    async def act(self, service: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One act, applied once: every attempt carries the same Idempotency-Key."""
        return await self._send("POST", service, path, body or {}, {"idempotency-key": str(uuid4())})

    async def desk(self, name: str, path: str, told: Mapping[str, Any] | None = None) -> Any:
        """Ask a simulated desk, or tell it; desks are not ours and get no token."""
        url = f"{self.where.urls[name]}{path}"
        answered = await (self.http.get(url) if told is None else self.http.post(url, json=told))
        return answered.raise_for_status().json()

    async def _send(
        self, method: str, service: str, path: str, body: Mapping[str, Any] | None, headers: dict[str, str]
    ) -> Any:
        headers |= {"authorization": f"Bearer {self.where.token}", "x-actor": self.actor}
        give_up, pause = asyncio.get_running_loop().time() + GIVE_UP_AFTER, FIRST_PAUSE
        while True:
            silence: str
            try:
                answered = await self.http.request(
                    method, f"{self.where.urls[service]}{path}", json=body, headers=headers
                )
                if answered.status_code not in UNHEARD:
                    return _understood(answered)
                silence = f"HTTP {answered.status_code}"
            except httpx.TransportError as failure:
                silence = type(failure).__name__
            if asyncio.get_running_loop().time() + pause > give_up:
                raise Trouble(f"{service} does not answer ({silence}); `jingyi status` shows how it stands.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _understood(answered: httpx.Response) -> Any:
    if answered.is_success:
        return answered.json() if answered.content else None
    try:
        problem = answered.json()
    except ValueError:
        problem = {}
    detail = problem.get("detail") or f"The service answered HTTP {answered.status_code}."
    raise Refused(answered.status_code, problem.get("code", "refused"), detail)


@asynccontextmanager
async def connected(where: Whereabouts, actor: str) -> AsyncIterator[Client]:
    """A line to the services, for as long as it is needed."""
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        yield Client(where, http, actor)


def call_path(city: str, case: UUID) -> str:
    return f"/cities/{city}/calls/{case}"


def incident_path(city: str, case: UUID) -> str:
    return f"/cities/{city}/incidents/{case}"


def done(work: Coroutine[Any, Any, T]) -> T:
    """What the work comes to; one red sentence and exit code 1 where it fails."""
    try:
        return asyncio.run(work)
    except Trouble as trouble:
        fail(trouble)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def fail(trouble: Trouble) -> NoReturn:
    """One red sentence, and exit code 1."""
    console.print(str(trouble), style="red")
    raise typer.Exit(1)


def running_system(state: Path | None) -> Whereabouts:
    """Where the running system is, for a command; one red sentence where none runs."""
    try:
        return whereabouts(state)
    except Trouble as trouble:
        fail(trouble)


def fetched(state: Path | None, actor: str, service: str, path: str) -> Any:
    """One look at a service, for a command."""

    async def look() -> Any:
        async with connected(whereabouts(state), actor) as client:
            return await client.get(service, path)

    return done(look())


def acted(state: Path | None, actor: str, service: str, path: str, body: Mapping[str, Any]) -> Any:
    """One act of a person, for a command."""

    async def act() -> Any:
        async with connected(whereabouts(state), actor) as client:
            return await client.act(service, path, body)

    return done(act())


def printed(answer: Any) -> None:
    """An answer as JSON, for programs."""
    typer.echo(seen(json.dumps(answer, ensure_ascii=False, indent=2)))


def headed(head: str, words: str) -> None:
    """A line that begins in bold."""
    console.print(head, style="bold", end="  ")
    console.print(words)


def seen(text: str) -> str:
    """The text line by line, without what would steer the terminal."""
    return "\n".join(map(shown_text, text.split("\n")))
