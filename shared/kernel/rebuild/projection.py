"""The projection in one number: two stores with the same number hold the same instances."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

BITS = 128


@dataclass(frozen=True)
class StoredInstance:
    """What counts of one instance: all but the keys that produced no event, for those are in no log.

    Deadline and list follow from the state.
    """

    version: int
    state: bytes
    drill: bool
    causes: tuple[str, ...]

    def differing_fields(self, other: "StoredInstance") -> str:
        """The names of what is not the same."""
        return ", ".join(name for name in vars(self) if getattr(self, name) != getattr(other, name))


@dataclass
class ProjectionDigest:
    """A sum over instances, in whatever order they come."""

    total: int = 0
    instances: int = 0

    def add(self, name: str, kept: StoredInstance) -> None:
        """One more instance, by its name in the store."""
        line = "\n".join((name, str(kept.version), str(kept.drill), *sorted(kept.causes))).encode() + kept.state
        number = int.from_bytes(blake2b(line, digest_size=BITS // 8).digest())
        self.total = (self.total + number) % 2**BITS
        self.instances += 1

    def __str__(self) -> str:
        return f"{self.total:032x}"


def join_digests(digests: Iterable[ProjectionDigest]) -> ProjectionDigest:
    """The number of all these together."""
    several = list(digests)
    return ProjectionDigest(sum(d.total for d in several) % 2**BITS, sum(d.instances for d in several))
