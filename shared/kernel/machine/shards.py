"""Where in the store a city's machines live: sixteen independent shards, each one hash slot."""

from zlib import crc32

SHARDS = 16


def shard_of(city: str) -> str:
    """The hash tag of the shard that keeps this city, e.g. `{s07}`."""
    return f"{{s{crc32(city.encode()) % SHARDS:02d}}}"


TAGS = tuple(f"{{s{number:02d}}}" for number in range(SHARDS))
"""The hash tags of all shards."""


def generation_name(tag: str) -> str:
    """Where a shard has the store's generation once more."""
    return f"{tag}:generation"
