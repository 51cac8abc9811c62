"""封存: personal and health data leaves a process only as ciphertext under the case's own key.

AES-256-GCM (NIST SP 800-38D, 96-bit random nonce); the associated data binds a field to its case, city and name, so
that a ciphertext moved elsewhere does not open. A field of which a case has several is named with what it is of,
`answers/<screening>`: then an earlier one does not open in place of a later. What was sealed before, `s1.`, is bound to
case and plain name. The case's key is wrapped by a versioned master key that lives outside Redis and Kafka. To erase a
person is to destroy the wrapped key.
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
        # By the store's name of the key: the same case id in another city's shard has another key.
        self._keys: OrderedDict[str, AESGCM] = OrderedDict()
        self._pending: OrderedDict[str, bytes] = OrderedDict()
        self._refused: dict[str, tuple[bytes, float]] = {}

    async def seal(self, case: UUID, field: str, value: Any, *, city: str) -> str:
        """`value` (anything JSON holds) as ciphertext that opens only for this case, city and field."""
        key = await self._key(case, city) or self._make(case, city)
        plain = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        nonce = os.urandom(12)
        sealed = nonce + key.encrypt(nonce, plain, _bound_to("s2", case, city, field))
        return "s2." + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    async def unseal(self, case: UUID, field: str, sealed: str, *, city: str) -> Any:
        """The value again. Raises Unreadable."""
        key = await self._key(case, city)
        if key is None:
            raise Unreadable("the case has no key; it was erased or never had one")
        try:
            version, _, text = sealed.partition(".")
            raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            return json.loads(key.decrypt(raw[:12], raw[12:], _bound_to(version, case, city, field)))
        except (InvalidTag, ValueError) as broken:
            raise Unreadable(f"the field {field!r} does not open with this case's key") from broken

    async def fetch_key(self, first: Event, _: object) -> None:
        """Handle a case's first event: fetch its key now, for later a person's rescue may wait for it."""
        await self._key(first.case, first.city)

    def pending_key(self, case: UUID, city: str) -> bytes | None:
        """The wrapped key that the case's next commit must carry, if the store does not have it yet."""
        name = key_name(case, city)
        wrapped, until = self._refused.get(name, (None, 0.0))
        return self._pending.get(name) or (wrapped if asyncio.get_running_loop().time() <= until else None)

    def mark_stored(self, case: UUID, city: str, wrapped: bytes) -> None:
        """Note that the store has taken this wrapped key."""
        if self._pending.get(key_name(case, city)) == wrapped:
            del self._pending[key_name(case, city)]

    def drop_key(self, case: UUID, city: str) -> None:
        """Give up our key, for another process made one first: nothing sealed under ours is learnt."""
        name, now = key_name(case, city), asyncio.get_running_loop().time()
        self._keys.pop(name, None)
        self._refused = {kept: refused for kept, refused in self._refused.items() if now <= refused[1]}
        if refused := self._pending.pop(name, None):
            self._refused[name] = refused, now + REFUSED_FOR

    async def _key(self, case: UUID, city: str) -> AESGCM | None:
        name = key_name(case, city)
        if name in self._keys:
            self._keys.move_to_end(name)
            return self._keys[name]
        wrapped = self._pending.get(name) or await self._store.ask("GET", name)
        return None if wrapped is None else self._remember(name, self._unwrap(case, wrapped))

    def _make(self, case: UUID, city: str) -> AESGCM:
        name = key_name(case, city)
        if name in self._keys:  # made or fetched by another task while we asked the store
            return self._keys[name]
        plain, nonce = os.urandom(32), os.urandom(12)
        wrapped = nonce + self._masters[self._newest].encrypt(nonce, plain, case.bytes)
        if len(self._pending) >= REMEMBERED:  # made for requests that then were refused
            self._pending.popitem(last=False)
        self._pending[name] = f"k1.{self._newest}.".encode() + base64.urlsafe_b64encode(wrapped)
        return self._remember(name, plain)

    def _unwrap(self, case: UUID, wrapped: bytes) -> bytes:
        try:
            _, version, encoded = wrapped.split(b".", 2)
            raw = base64.urlsafe_b64decode(encoded)
            return self._masters[int(version)].decrypt(raw[:12], raw[12:], case.bytes)
        except (KeyError, ValueError, InvalidTag) as broken:
            raise Unreadable("the case's key does not open with any master key here") from broken

    def _remember(self, name: str, plain: bytes) -> AESGCM:
        self._keys[name] = AESGCM(plain)
        if len(self._keys) > REMEMBERED:
            self._keys.popitem(last=False)
        return self._keys[name]


def key_name(case: UUID, city: str) -> str:
    """Where the store keeps the wrapped key of a case."""
    return f"{shard_of(city)}:key:{case}"


def key_row(case: UUID, home: str, wrapped: bytes) -> OutboxRow:
    """A wrapped key on its way to the log of record, with the city whose shard keeps it."""
    headers = {"content-type": "application/octet-stream", "ce_city": home, "traceparent": trace.current_traceparent()}
    return OutboxRow(KEYS_TOPIC, str(case), headers, wrapped)


def _bound_to(version: str, case: UUID, city: str, field: str) -> bytes:
    """What a ciphertext of this version is bound to. Raises ValueError on any other."""
    match version:
        case "s1":
            return f"{case}|{field.partition('/')[0]}|s1".encode()
        case "s2":
            return f"{case}|{city}|{field}|s2".encode()
    raise ValueError(version)
