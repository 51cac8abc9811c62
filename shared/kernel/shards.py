"""Where in the store a city's machines live: sixteen independent shards, each one hash slot."""

from zlib import crc32

SHARDS = 16


def shard_of(city: str) -> str:
    """The hash tag of the shard that keeps this city, e.g. `{s07}`."""
    return tag(crc32(city.encode()) % SHARDS)


def tag(number: int) -> str:
    """The hash tag of a shard by its number, 0–15."""
    return f"{{s{number:02d}}}"


TAGS = tuple(tag(number) for number in range(SHARDS))
