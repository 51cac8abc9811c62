"""What a service stands on: bus, store, the way to other machines and to people; the simulator passes its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from shared.kernel.log.bus import Bus
from shared.kernel.machine.store import Committed, Store
from shared.kernel.process.journal import Journal
from shared.notify import channels
from shared.notify.channels import SendMessage

Keeps = Callable[[Path, Mapping[int, bytes]], Any]
"""Opens the journal in a folder, with these master keys; has the methods of Journal."""

Transport = Callable[..., httpx.AsyncBaseTransport]
"""Makes the pool of connections to one address; takes what httpx.AsyncHTTPTransport takes."""


@dataclass(frozen=True)
class Platform:
    """How each is made. Whatever is made has the methods of the real one.

    `bus` is given the brokers and the process's lasting name; `store` its URL and whom to tell of committed rows.
    """

    bus: Callable[[str, str | None], Any] = Bus
    store: Callable[[str, Committed], Any] = Store
    transport: Transport = httpx.AsyncHTTPTransport
    tell: SendMessage = channels.send_message
    journal: Keeps = Journal
