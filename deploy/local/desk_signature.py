"""签名（指挥台一侧）: Standard Webhooks v1 as a desk's own system does it, sharing no code with whom it answers."""

import base64
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

TOLERANCE = timedelta(minutes=5)
"""How far a timestamp may lie from our clock (Standard Webhooks libraries)."""


class Unsigned(Exception):
    """Nobody with the secret vouches for this message."""


class BadSecret(ValueError):
    """A secret that is not `whsec_` and base64 of 24 to 64 bytes."""


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. Raises BadSecret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The webhook-id of a message signed lately with `secret`. Raises Unsigned, or BadSecret of ours."""
    message_id, written = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or "." in message_id or not (written.isascii() and written.isdecimal() and len(written) <= 11):
        raise Unsigned
    if abs(now.timestamp() - int(written)) > TOLERANCE.total_seconds():
        raise Unsigned
    expected = sign(secret, message_id, int(written), body).encode()
    given = headers.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(expected, one.encode(errors="replace")) for one in given):
        raise Unsigned
    return message_id


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise BadSecret("It must be `whsec_` and base64.") from None
    if not 24 <= len(key) <= 64:
        raise BadSecret("It must have 24 to 64 bytes.")
    return key
