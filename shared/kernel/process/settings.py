"""What a service is told by its surroundings, read once."""

import base64
import json
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.contract.city import Cities, City
from shared.kernel.process.tokens import fits_header, stripped_text


def surroundings() -> dict[str, str]:
    """The environment, each value as it was meant."""
    return {name: stripped_text(told) for name, told in os.environ.items()}


def _meant(told: object) -> object:
    return stripped_text(told) if isinstance(told, str) else told


def _fits_a_header(token: SecretStr) -> SecretStr:
    if not fits_header(token.get_secret_value()):
        raise ValueError("has a space or a character that no header carries; `openssl rand -hex 32` makes a token.")
    return token


Stripped = Annotated[str, AfterValidator(stripped_text)]
Token = Annotated[SecretStr, BeforeValidator(_meant), AfterValidator(_fits_a_header)]

SERVICES = ("hotline_intake", "risk_assessment", "dispatch", "responder_adapter", "auditor")
IN_DEVELOPMENT = {"api_token": "development", "peer_tokens": {name: f"development-{name}" for name in SERVICES}}
"""What nobody has to be told there."""

NOT_OURS = re.compile(r"JINGYI_(STATE|MAVEN|(PORT|URL)_[A-Z0-9_]+)")
"""Variables for the command and the local system."""


class Settings(BaseSettings):
    """Environment variables with the prefix `JINGYI_`. Production is the default, and has no secret of its own.

    `doors` is where the peers are: the name of each other service → its base URL. With `hedge`, what Kafka is late with
    is also told there. `peer_tokens` are the name of each service → its token: by it the others know who speaks.
    `instance` names this process among those of its service, the same again after every restart; two that run at once
    never share it. With it a restarted process has its work from Kafka and its leases in the store back at once, and
    intake finds its journal. `proxy` is for messages to people outside alone; what the environment says of proxies
    counts for nothing.
    """

    model_config = SettingsConfigDict(env_prefix="JINGYI_", frozen=True, enable_decoding=False)

    env: Literal["development", "production"] = "production"
    redis_url: str = "redis://127.0.0.1:16379/0"
    kafka: str = "127.0.0.1:19092"
    host: str = "127.0.0.1"
    port: int = 8101
    public_url: str | None = None
    cities: Path = Path("deploy/cities")
    master_keys: Path = Path(".jingyi/run/master.keys")
    journal: Path = Path(".jingyi/run/journal")
    api_token: Token = SecretStr("")
    peer_tokens: dict[str, Annotated[Token, Field(min_length=1)]] = {}
    doors: dict[str, Stripped] = {}
    hedge: bool = True
    otlp: str | None = None
    proxy: str | None = None
    instance: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,40}$")

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, told: dict[str, Any]) -> dict[str, Any]:
        meant = {name: _meant(value) for name, value in told.items()}
        return {**IN_DEVELOPMENT, **meant} if meant.get("env") == "development" else meant

    @field_validator("doors", "peer_tokens", mode="before")
    @classmethod
    def _by_service(cls, told: object) -> object:
        try:
            return json.loads(told) if isinstance(told, str) else told
        except ValueError:
            raise ValueError('is not JSON; write it as {"dispatch": "…", "auditor": "…"}.') from None

    @model_validator(mode="after")
    def _no_known_secret_in_production(self) -> "Settings":
        tokens = {"JINGYI_API_TOKEN": self.api_token} if self.api_token else {}
        tokens |= {f"JINGYI_PEER_TOKENS for {name}": token for name, token in self.peer_tokens.items()}
        for name, token in tokens.items():
            if self.env == "production" and len(token) < 32:
                raise ValueError(f"{name} must have at least 32 characters outside development.")
        if len(set(tokens.values())) < len(tokens):
            raise ValueError("JINGYI_API_TOKEN and those in JINGYI_PEER_TOKENS must all be different.")
        return self

    def check_tokens(self, service: str) -> None:
        """Whether the service of that name can be asked and can ask. Raises ValueError naming all that is missing."""
        unnamed = sorted({service, *self.doors} - self.peer_tokens.keys())
        missing = [] if self.api_token else ["JINGYI_API_TOKEN"]
        missing += [f"JINGYI_PEER_TOKENS for {', '.join(unnamed)}"] if unnamed else []
        if missing:
            raise ValueError(
                f"Set {' and '.join(missing)}: `openssl rand -hex 32` makes a token; "
                "only JINGYI_ENV=development goes without."
            )

    def unread_variables(self) -> list[str]:
        """Those with our prefix that nobody reads: most likely one is misspelt."""
        named = {f"JINGYI_{name.upper()}" for name in type(self).model_fields}
        for pack in self.packs.values():
            named |= {channel for person in pack.chain for channel in person.channels}
            wires = [desk.wire for desk in pack.every_desk.values()]
            named |= {getattr(wire, of, "") or "" for wire in wires for of in ("secret_env", "report_secret_env")}
        ours = {name for name in os.environ if name.upper().startswith("JINGYI_") and not NOT_OURS.fullmatch(name)}
        return sorted(name for name in ours if name not in named and name.upper() not in named)

    def check(self) -> None:
        """Read what the settings point to. Raises ValueError with what to do."""
        if not (self.packs and self.masters):
            raise ValueError("City packs and master keys are needed.")

    def peer_token(self, service: str) -> str:
        """What the service of that name shows to its peers. Raises ValueError where it has none."""
        if service not in self.peer_tokens:
            raise ValueError(f"JINGYI_PEER_TOKENS has no token for {service}; `openssl rand -hex 32` makes one.")
        return self.peer_tokens[service].get_secret_value()

    @property
    def base_url(self) -> str:
        """Where others reach this service."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @cached_property
    def packs(self) -> Cities:
        """Every city pack in the folder. Raises ValueError naming the file that does not hold."""
        return read_packs(self.cities)

    @cached_property
    def masters(self) -> dict[int, bytes]:
        """Master keys by version, from lines `version base64` of 32 bytes each; the highest version seals."""
        try:
            lines = [
                line.split() for line in self.master_keys.read_text(encoding="utf-8-sig").splitlines() if line.strip()
            ]
            keys = {int(version): base64.b64decode(key, validate=True) for version, key in lines}
        except (OSError, ValueError) as unusable:
            raise ValueError(f"No usable master key in {self.master_keys} (JINGYI_MASTER_KEYS).") from unusable
        if not keys or any(len(key) != 32 for key in keys.values()):
            raise ValueError(f"{self.master_keys}: each line is `version base64` of 32 bytes.")
        if len(keys) < len(lines):
            raise ValueError(f"{self.master_keys}: one version has two keys; give each key a version of its own.")
        return keys


def read_packs(folder: Path) -> Cities:
    """Every city pack in the folder. Raises ValueError naming the file that does not hold."""
    packs = [_pack(path) for path in sorted(folder.glob("*.yaml"))]
    if not packs:
        raise ValueError(f"No city pack in {folder}. Set JINGYI_CITIES to a folder with <division code>.yaml.")
    return Cities(packs)


def _pack(path: Path) -> City:
    try:
        pack = City.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError) as unusable:
        raise ValueError(f"City pack {path.name} does not hold: {settings_error(unusable)}") from unusable
    if pack.code != path.stem:
        raise ValueError(f"City pack {path.name} calls itself {pack.code}; name the file after the city.")
    return pack


def settings_error(unusable: Exception, prefix: str = "") -> str:
    """What does not hold and where, on one line and without what was given: it may be a secret."""
    if not isinstance(unusable, ValidationError):
        return " ".join(str(unusable).split())
    errors = unusable.errors(include_url=False, include_input=False)[:5]
    return "; ".join(_said(prefix + ".".join(map(str, e["loc"])), prefix, e["msg"]) for e in errors)


def _said(where: str, prefix: str, what: str) -> str:
    words = what.removeprefix("Value error, ")
    return words if where == prefix else f"{where.upper() if prefix else where}: {words}"
