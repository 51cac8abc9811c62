"""指纹: tells the same Idempotency-Key with another body, and tells nobody else what the body was.

HMAC-SHA256 over an act's id and the meaning of its body, under a key that HKDF makes of the lowest master key: equal
bodies of two acts do not look alike, and newer master keys change nothing. Once that master key retires, any body is
taken for the one that came before: so are those of which no fingerprint, or an unkeyed one, was kept.
"""

import hmac
import json
from collections.abc import Mapping
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.contract.event import Rejected

WILDCARD_FINGERPRINT = "*"
"""The fingerprint under a key that was rebuilt from the log, where no body is: any body is taken for the one it had."""


class KeyReused(Rejected):
    """An Idempotency-Key that came before, with another body."""

    status = 422

    def __init__(self) -> None:
        super().__init__("idempotency_key_reused", "This Idempotency-Key came before with another body. Use a new key.")


class TooManyActs(Rejected):
    """One actor has moved one instance more often than anybody at work does."""

    status = 429

    def __init__(self) -> None:
        said = "Too many acts of one actor on one case: let somebody else go on. Escalations are taken all the same."
        super().__init__("too_many_acts", f"同一人对本案操作过多，请换人继续；人工升级不受限制。 {said}")


class Fingerprints:
    """Makes fingerprints `f1.<master key version>.<HMAC>`."""

    def __init__(self, masters: Mapping[int, bytes]) -> None:
        self._version = min(masters)
        self._key = HKDF(SHA256(), 32, None, b"jingyi fingerprint").derive(masters[self._version])

    def fingerprint(self, act: UUID, body: bytes) -> str:
        """The fingerprint of what the act with this id says; however JSON spells it, it is the same."""
        digest = hmac.digest(self._key, act.bytes + _meaning(body), "sha256")
        return f"f1.{self._version}.{digest.hex()[:16]}"


def check_same_body(kept: str, ours: str) -> None:
    """Raise KeyReused if these fingerprints of one act are of one key, and of two bodies."""
    maker, _, _ = ours.rpartition(".")
    if maker.startswith("f1.") and kept.startswith(f"{maker}.") and kept != ours:
        raise KeyReused


def _meaning(body: bytes) -> bytes:
    try:
        return json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):  # whoever reads it refuses it
        return body
