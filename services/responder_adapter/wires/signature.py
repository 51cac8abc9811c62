"""签名: Standard Webhooks v1 (HMAC-SHA256 over `id.timestamp.body`), over raw bytes, both ways of the desk's wire.

Our own, because the published Python package (standardwebhooks 1.1.0) lets ValueError and others out on hostile input.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from datetime import datetime

TOLERANCE = 300
"""Seconds a timestamp may differ from our clock (Standard Webhooks libraries: 5 min)."""

MOST_SIGNATURES = 5

ID = re.compile(r"[A-Za-z0-9_:/-]{1,128}")
"""No dot: it would let the end of an id be read as the timestamp."""

SECONDS = re.compile(r"[0-9]{1,11}")


class Unsigned(Exception):
    """A message that nobody with the secret vouches for. Says no more, on purpose."""


class ClockOff(Unsigned):
    """The desk has signed it, at a time that is not ours: its clock, or ours, is `skew` seconds off."""

    def __init__(self, skew: float) -> None:
        super().__init__(skew)
        self.skew = skew


class BadSecret(ValueError):
    """A secret that is not `whsec_` and base64 of 24 to 64 bytes."""


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. Raises BadSecret."""
    return "v1," + base64.b64encode(_mac(_key(secret), webhook_id, str(timestamp), body)).decode()


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The webhook-id of a message signed with `secret` within the tolerance. Raises Unsigned, or BadSecret of ours.

    `headers` are looked up in lower case.
    """
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not ID.fullmatch(webhook_id) or not SECONDS.fullmatch(timestamp):
        raise Unsigned
    given = headers.get("webhook-signature", "").split(" ", MOST_SIGNATURES)
    if len(given) > MOST_SIGNATURES:
        raise Unsigned
    expected = b"v1," + base64.b64encode(_mac(_key(secret), webhook_id, timestamp, body))
    # Every one is compared, so that the time taken does not tell which of them is nearly right.
    matches = [hmac.compare_digest(expected, signature.encode(errors="replace")) for signature in given]
    if not any(matches):
        raise Unsigned
    skew = int(timestamp) - now.timestamp()
    if abs(skew) > TOLERANCE:
        raise ClockOff(skew)
    return webhook_id


def read_secret(environment: Mapping[str, str], variable: str) -> str | None:
    """The secret in that variable; None where it is missing or no secret."""
    secret = environment.get(variable, "")
    try:
        _key(secret)
    except BadSecret:
        return None
    return secret


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret("A signing secret is `whsec_` and base64.") from None
    if not 24 <= len(key) <= 64:
        raise BadSecret("A signing secret has 24 to 64 bytes.")
    return key


def _mac(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, "sha256")
