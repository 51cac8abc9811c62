"""核对心跳 for `jingyi status`: whether raised, ordered and delivered agree, in one line."""

from collections.abc import Mapping

import httpx

from deploy.cli.client import AUDITOR

WITHIN = 3.0
"""Seconds."""


def heartbeat(urls: Mapping[str, str]) -> tuple[str, str]:
    """What the auditor says of itself, and a colour."""
    try:
        beat = httpx.get(f"{urls[AUDITOR]}/heartbeat", timeout=WITHIN, trust_env=False).json()
    except (KeyError, httpx.HTTPError, ValueError):
        return "核对 auditor: 没有应答 does not answer", "red"
    warned = "".join(f" · {count} {kind}" for kind, count in beat["warnings"].items())
    if beat["agrees"]:
        return f"核对 auditor: 一致 everything agrees{warned}", "yellow" if warned else "green"
    found = ", ".join(f"{count} {kind}" for kind, count in beat["findings"].items()) or "尚未核对 not compared yet"
    return f"核对 auditor: 有出入 differs: {found}{warned}", "red"
