"""封存: personal and health data leaves a process only as ciphertext under the case's own key.

AES-256-GCM (NIST SP 800-38D, 96-bit random nonce); the associated data binds a field to its case and name, so that
a ciphertext moved elsewhere does not open. The case's key is wrapped by a versioned master key that lives outside
Redis and Kafka. To erase a person is to destroy the wrapped key.
"""

import asyncio
import base64
import json
import os
from collections import OrderedDict
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.contract.event import Event
from shared.kernel import trace
from shared.kernel.errors import Malformed
from shared.kernel.machine.shards import shard_of
from shared.kernel.machine.store import OutboxRow, Store

KEYS_TOPIC = "case.keys"

REMEMBERED = 20_000
"""Case keys kept unwrapped in memory at the most."""

REFUSED_FOR = 2.0
"""Seconds in which something sealed under a refused key may still come to be learnt, and must be refused with it."""


class Unreadable(Malformed):
    """A sealed field that does not open: wrong case, wrong field, damaged, or its key is gone."""

    def __init__(self, detail: str) -> None:
        super().__init__("unreadable", detail)


class Vault:
    """Seals and opens the fields of a case. Raises Unavailable when the case's key cannot be fetched."""

    def __init__(self, masters: dict[int, bytes], store: Store) -> None:
        self._masters = {version: AESGCM(key) for version, key in masters.items()}
        self._newest = max(masters)
        self._store = store
        self._keys: OrderedDict[UUID, AESGCM] = OrderedDict()
        self._pending: OrderedDict[UUID, bytes] = OrderedDict()
        self._refused: dict[UUID, tuple[bytes, float]] = {}

    async def seal(self, case: UUID, field: str, value: Any, *, city: str) -> str:
        """`value` (anything JSON holds) as ciphertext that opens only for this case and field."""
        key = await self._key(case, city) or self._make(case)
        plain = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        nonce = os.urandom(12)
        sealed = nonce + key.encrypt(nonce, plain, _bound_to(case, field))
        return "s1." + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    async def unseal(self, case: UUID, field: str, sealed: str, *, city: str) -> Any:
        """The value again. Raises Unreadable."""
        key = await self._key(case, city)
        if key is None:
            raise Unreadable("the case has no key; it was erased or never had one")
        try:
            version, _, text = sealed.partition(".")
            raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True) if version == "s1" else b""
            return json.loads(key.decrypt(raw[:12], raw[12:], _bound_to(case, field)))
        except (InvalidTag, ValueError) as broken:
            raise Unreadable(f"the field {field!r} does not open with this case's key") from broken

    async def fetch_key(self, first: Event, _: object) -> None:
        """Handle a case's first event: fetch its key now, for later a person's rescue may wait for it."""
        await self._key(first.case, first.city)

    def pending_key(self, case: UUID) -> bytes | None:
        """The wrapped key that the case's next commit must carry, if the store does not have it yet."""
        wrapped, until = self._refused.get(case, (None, 0.0))
        if wrapped and asyncio.get_running_loop().time() > until:
            del self._refused[case]
        return self._pending.get(case) or (wrapped if case in self._refused else None)

    def mark_stored(self, case: UUID, wrapped: bytes) -> None:
        """Note that the store has taken this wrapped key."""
        if self._pending.get(case) == wrapped:
            del self._pending[case]

    def drop_key(self, case: UUID) -> None:
        """Give up our key, for another process made one first: nothing sealed under ours is learnt."""
        self._keys.pop(case, None)
        if refused := self._pending.pop(case, None):
            self._refused[case] = refused, asyncio.get_running_loop().time() + REFUSED_FOR

    async def _key(self, case: UUID, city: str) -> AESGCM | None:
        if case in self._keys:
            self._keys.move_to_end(case)
            return self._keys[case]
        wrapped = self._pending.get(case) or await self._store.ask("GET", key_name(case, city))
        return None if wrapped is None else self._remember(case, self._unwrap(case, wrapped))

    def _make(self, case: UUID) -> AESGCM:
        if case in self._keys:  # made or fetched by another task while we asked the store
            return self._keys[case]
        plain, nonce = os.urandom(32), os.urandom(12)
        wrapped = nonce + self._masters[self._newest].encrypt(nonce, plain, case.bytes)
        if len(self._pending) >= REMEMBERED:  # made for requests that then were refused
            self._pending.popitem(last=False)
        self._pending[case] = f"k1.{self._newest}.".encode() + base64.urlsafe_b64encode(wrapped)
        return self._remember(case, plain)

    def _unwrap(self, case: UUID, wrapped: bytes) -> bytes:
        try:
            _, version, encoded = wrapped.split(b".", 2)
            raw = base64.urlsafe_b64decode(encoded)
            return self._masters[int(version)].decrypt(raw[:12], raw[12:], case.bytes)
        except (KeyError, ValueError, InvalidTag) as broken:
            raise Unreadable("the case's key does not open with any master key here") from broken

    def _remember(self, case: UUID, plain: bytes) -> AESGCM:
        self._keys[case] = AESGCM(plain)
        if len(self._keys) > REMEMBERED:
            self._keys.popitem(last=False)
        return self._keys[case]


def key_name(case: UUID, city: str) -> str:
    """Where the store keeps the wrapped key of a case."""
    return f"{shard_of(city)}:key:{case}"


def key_row(case: UUID, home: str, wrapped: bytes) -> OutboxRow:
    """A wrapped key on its way to the log of record, with the city whose shard keeps it."""
    headers = {"content-type": "application/octet-stream", "ce_city": home, "traceparent": trace.current_traceparent()}
    return OutboxRow(KEYS_TOPIC, str(case), headers, wrapped)


def _bound_to(case: UUID, field: str) -> bytes:
    return f"{case}|{field}|s1".encode()
