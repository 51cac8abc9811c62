"""宽进: what of a body can be used. The form guides the seat; it never keeps a call for help at the door."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

B = TypeVar("B", bound=BaseModel)

Ignored = Annotated[tuple[str, ...], Field(description="What of the request could not be used 未采用的内容")]
"""The fields of a body that could not be used, by their places: never what was in them, nor a name that is not ours."""

NO_JSON: Ignored = ("json",)
NO_OBJECT: Ignored = ("body",)
"""A body of which nothing can be used."""


def parse_body(body: bytes) -> tuple[dict[str, Any], Ignored]:
    """The object in a body, whatever its content type; none in one that is empty or is no JSON object."""
    try:
        told = json.loads(body.decode("utf-8-sig", errors="replace")) if body.strip() else {}
    except (ValueError, RecursionError):
        return {}, NO_JSON
    if told is None:
        return {}, ()
    return (told, ()) if isinstance(told, dict) else ({}, NO_OBJECT)


def usable_part(kind: type[B], told: Mapping[str, Any]) -> tuple[B, Ignored]:
    """`told` without what `kind` refuses. Raises ValidationError if what it needs is not there."""
    part: Any = json.loads(json.dumps(told))
    ignored: list[str] = []
    while True:
        try:
            return kind.model_validate(part), tuple(dict.fromkeys(ignored))
        except ValidationError as invalid:
            # From the last of a list on, so that the places of the others stay theirs.
            wrong = sorted({error["loc"] for error in invalid.errors()}, key=str, reverse=True)
            gone = [place for place in wrong if _take_out(part, place)]
            if not gone:
                raise
            ignored += [str(place[0]) if place[0] in kind.model_fields else "…" for place in reversed(gone)]


def _take_out(part: Any, place: tuple[int | str, ...]) -> bool:
    *within, last = place[:-1] if place and place[-1] == "[key]" else place
    for step in within:
        try:
            part = part[step]
        except (LookupError, TypeError):
            return False
    try:
        del part[last]
    except (LookupError, TypeError):
        return False
    return True
