"""What a service stands on: bus, store, journal, the ways to machines and people; the simulator passes its own."""

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from shared.kernel.clock import processor_seconds
from shared.kernel.log.bus import Bus
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.store import Committed, Store
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.process.file_journal import FileJournal
from shared.kernel.process.journal import OpenJournal
from shared.notify import channels
from shared.notify.channels import SendMessage

Transport = Callable[..., httpx.AsyncBaseTransport]
"""Makes the pool of connections to one address; takes what httpx.AsyncHTTPTransport takes."""


@dataclass(frozen=True)
class Platform:
    """How each is made: `bus` of the brokers and the process's lasting name, `store` of its URL and who is told of
    committed rows. `ran`: seconds for which this process could not be stopped, for it ran or waited to run."""

    bus: Callable[[str, str | None], Bus] = KafkaBus
    store: Callable[[str, Committed], Store] = ValkeyStore
    transport: Transport = httpx.AsyncHTTPTransport
    tell: SendMessage = channels.send_message
    journal: OpenJournal = FileJournal
    ran: Callable[[], float] = processor_seconds
