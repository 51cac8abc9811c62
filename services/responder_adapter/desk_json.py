"""What a desk's own system writes, in a report or an answer, taken for what it means, however it is spelled."""

import json
import zlib
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from shared.contract.shown import folded_text
from shared.contract.terms import Code, RefNo

MOST_BYTES = 65_536
"""Of one message, packed or not."""

PACKED = (b"\x1f\x8b", b"\x78")
"""How gzip and zlib begin, whatever a header says; no JSON does."""

UNCODED = "uncoded"
"""Stands for a reason that is no code, such as a sentence."""


class NotJson(ValueError):
    """No JSON, or too much of it."""


def read_json(body: bytes) -> Any:
    """The value in `body`: gzip or plain, in UTF-8, 16, 32 or GBK, with a BOM or without. Numbers are their digits.

    A list of one is that one. Raises NotJson.
    """
    try:
        said = json.loads(_text(_unpacked(body)), parse_int=str, parse_float=str, parse_constant=_nothing)
    except (ValueError, RecursionError, zlib.error) as wrong:
        raise NotJson from wrong
    return said[0] if isinstance(said, list) and len(said) == 1 else said


def _nothing(_: str) -> None:
    """NaN and Infinity name nothing."""


def _unpacked(body: bytes) -> bytes:
    if not body.startswith(PACKED):
        return body
    packing = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    plain = packing.decompress(body, MOST_BYTES)
    if not packing.eof:
        raise NotJson
    return plain


def _text(body: bytes) -> str:
    try:
        return body.decode(json.detect_encoding(body))
    except UnicodeDecodeError:
        return body.decode("gb18030", errors="replace")


def _word(given: object) -> object:
    folded = folded_text(given)
    return folded.casefold().replace(" ", "_") if isinstance(folded, str) else folded


def _code(given: object, check: ValidatorFunctionWrapHandler) -> str | None:
    try:
        return None if given is None else check(_word(given))
    except ValidationError:
        return UNCODED


def _number(given: object, check: ValidatorFunctionWrapHandler) -> str | None:
    try:
        return None if given is None else check(given)
    except ValidationError:
        return None


Word = BeforeValidator(_word)
"""Of a closed list: case, width and blanks make no difference."""

ReadCode = Annotated[Code | None, WrapValidator(_code)]
"""A code, or UNCODED."""

ReadRefNo = Annotated[RefNo | None, WrapValidator(_number)]
"""A number, or None where there is none to be read."""
