"""FastAPI works out a route when it is first asked for: a process that starts anew uses a handful of its forty.

Working out one route takes milliseconds, and a run starts four to eight processes. What is worked out, and what answers
a request, is FastAPI's own.
"""

import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import _lru_cache_wrapper, cache
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import compile_path

Add = Callable[..., None]
_add: Add = APIRouter.add_api_route
pattern = cache(lambda path: compile_path(path)[0])


@dataclass(frozen=True)
class Late:
    """A route as it was declared."""

    path: str
    endpoint: Callable[..., Any]
    told: dict[str, Any]

    def serves(self, method: str, path: str) -> bool:
        return method in (self.told.get("methods") or ["GET"]) and pattern(self.path).match(path) is not None


def declare(self: APIRouter, path: str, endpoint: Callable[..., Any], **told: Any) -> None:
    """Instead of `add_api_route`: remember it, with what the router adds to each of its routes."""
    told["tags"] = [*self.tags, *(told.get("tags") or [])]
    told["dependencies"] = [*self.dependencies, *(told.get("dependencies") or [])]
    told["responses"] = {**self.responses, **(told.get("responses") or {})}
    _declared(self).append(Late(self.prefix + path, endpoint, told))


def include(self: FastAPI, router: APIRouter, **_: Any) -> None:
    """Instead of `include_router`: its routes are the application's."""
    _declared(self.router).extend(_declared(router))


def ready(app: FastAPI, method: str, path: str) -> None:
    """Work out the route that serves this, if it is declared and not there yet."""
    declared = _declared(app.router)
    found = next((late for late in declared if late.serves(method, path)), None)
    if found is not None:
        declared.remove(found)
        _add(app.router, found.path, found.endpoint, **found.told)


def _declared(router: APIRouter) -> list[Late]:
    declared: list[Late] = router.__dict__.setdefault("declared", [])
    return declared


def postpone() -> None:
    """From now on, in this program, routes are worked out late."""
    APIRouter.add_api_route = declare  # type: ignore[method-assign]
    FastAPI.include_router = include  # type: ignore[method-assign]


def forget() -> None:
    """Who remembers the functions it has looked at, and with them the processes they belonged to, forgets them."""
    for clear in typing._cleanups:  # type: ignore[attr-defined]
        clear()
    for name, module in list(sys.modules.items()):
        if name.startswith("fastapi."):
            for cached in vars(module).values():
                if isinstance(cached, _lru_cache_wrapper):
                    cached.cache_clear()
