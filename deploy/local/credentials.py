"""The secrets of one local system: random, made once per state folder, readable by their owner alone."""

import base64
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MASTER_KEYS = "master.keys"
API_TOKEN = "api.token"
PEER_TOKENS = "peer-*.token"


@dataclass(frozen=True)
class Credentials:
    master_keys: Path
    api_token: str
    peer_tokens: dict[str, str]
    desk_secrets: dict[str, str]


def kept(state: Path, desks: Sequence[str], services: Sequence[str]) -> Credentials:
    """What `state` holds, made where it is missing."""
    keep(state / MASTER_KEYS, f"1 {base64.b64encode(secrets.token_bytes(32)).decode()}\n")
    staff = keep(state / API_TOKEN, secrets.token_urlsafe(32))
    peers = {name: keep(state / PEER_TOKENS.replace("*", name), secrets.token_urlsafe(32)) for name in services}
    signing = {desk: keep(state / f"desk-{desk}.secret", fresh_signing_secret()) for desk in desks}
    named = {secret_variable(desk): secret for desk, secret in signing.items()}
    return Credentials(state / MASTER_KEYS, staff, peers, named)


def fresh_signing_secret() -> str:
    """In the form of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def secret_variable(desk: str) -> str:
    return f"JINGYI_SECRET_{desk.replace('-', '_')}"


def keep(path: Path, fresh: str) -> str:
    """The file's text, without what an editor left around it; `fresh` if there was none.

    It is never there half-written, nor readable by others.
    """
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(fresh)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    return path.read_text(encoding="utf-8-sig").strip()
