"""Stores of tests that share a Kafka: each begins as one that was just rebuilt, for Kafka knows the marks of others."""

import time
from itertools import count

from redis import Redis

from shared.kernel.machine.shards import TAGS, generation_name
from shared.kernel.machine.store import GENERATION

_epochs = count(round(time.time()) - 100_000)
"""Rising, and older than whatever a test says."""


def begin_generation(url: str) -> int:
    """Have the store begin a generation that is younger than every one before."""
    epoch = next(_epochs)
    with Redis.from_url(url) as redis:
        redis.mset(dict.fromkeys((GENERATION, *map(generation_name, TAGS)), epoch))
    return epoch
