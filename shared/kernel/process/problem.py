"""What a caller is told when a request fails: RFC 9457 problem+json, with what to do."""

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared.contract.event import Rejected
from shared.kernel.errors import Malformed, Unavailable

FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}")

CODES = {
    400: "malformed_json",
    401: "unauthorised",
    404: "no_such_path",
    405: "method_not_allowed",
    413: "too_large",
}
"""What a refusal of the framework is called."""

SHOWN = 20
"""Errors of one body that an answer names at the most."""


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
    code = CODES.get(refusal.status_code, "refused")
    answer = problem_response(refusal.status_code, code, str(refusal.detail))
    answer.headers.update(refusal.headers or {})
    return answer


PROBLEMS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    Rejected: _rejected,
    Unavailable: _unavailable,
    Malformed: _sealed,
    RequestValidationError: _invalid,
    HTTPException: _http,
}
"""How each kind of failure is told."""
