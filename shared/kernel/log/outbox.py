"""One shard of a service's outbox as its relay has it: what waits in the store, and what is on its way to Kafka."""

import json
from dataclasses import dataclass, field
from uuid import uuid5

from shared.kernel.log.dead_letter import why_put_aside
from shared.kernel.machine.keeper import NAMES
from shared.kernel.machine.store import OutboxRow, Store
from shared.kernel.machine.timers import FailedDeadline


@dataclass(eq=False)
class OutboxShard:
    """Rows on their way. While it is `behind`, older rows wait in the outbox and fresh ones are `held`."""

    tag: str
    service: str
    leased: bool = False
    behind: bool = True
    doubts: int = 0
    held: list[tuple[bytes, OutboxRow]] = field(default_factory=list)
    sending: dict[bytes, float] = field(default_factory=dict)
    acknowledged: list[bytes] = field(default_factory=list)

    @property
    def outbox(self) -> str:
        """The store's name for its rows."""
        return f"{self.tag}:{self.service}:outbox"

    @property
    def lease(self) -> str:
        """The store's name for who sends them."""
        return f"{self.tag}:{self.service}:lease"

    def fall_behind(self) -> None:
        """Read the outbox in its order before anything else goes; a reading already under way is not enough."""
        self.behind = True
        self.doubts += 1


def stream_position(row_id: bytes) -> tuple[int, int]:
    """Where a row stands in its outbox: milliseconds of the store's clock, and a count within them."""
    milliseconds, _, sequence = row_id.partition(b"-")
    return int(milliseconds), int(sequence)


async def add_failed_deadline(store: Store, shard: OutboxShard, topic: str, failed: FailedDeadline) -> None:
    """Put a deadline at which its machine failed among the dead letters, where it rings. Raises Unavailable."""
    named = f"{failed.machine}/{failed.address.instance}"
    headers = {
        "ce_id": str(uuid5(NAMES, f"{named}|{failed.due.isoformat()}")),
        "ce_type": "cn.jingyi.DeadlinePassed",
        "ce_city": failed.city,
        **why_put_aside("deadline", shard.service, named),
    }
    value = json.dumps({"instance": named, "due": failed.due.isoformat()}).encode()
    said, key, named_headers, body = OutboxRow(topic, str(failed.case), headers, value).parts
    await store.ask("XADD", shard.outbox, "*", "t", said, "k", key, "h", named_headers, "v", body)
