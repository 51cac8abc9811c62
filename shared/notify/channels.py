"""外呼: tells people outside this system a few words by SMS, voice or chat, over whatever channels `apprise` knows."""

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apprise import Apprise

WITHIN = 4.0
"""Seconds a channel has to take a message; ours, well inside the 5 s after which an untaken one is repeated."""

SPEAKERS = ("apprise", "requests", "urllib3")
"""Libraries whose own logs may name an address or a message."""

PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})

SendMessage = Callable[[Sequence[str], str], Awaitable[bool]]


def use_proxy(proxy: str | None) -> None:
    """Have channels reached directly, or over `proxy`; the environment's own proxies are meant for other programs.

    `apprise` asks the environment at every message and can be told in no other way, so the environment is changed.
    """
    for name in [name for name in os.environ if name.lower() in PROXIES]:
        del os.environ[name]
    if proxy:
        os.environ.update(http_proxy=proxy, https_proxy=proxy)


async def send_message(urls: Sequence[str], words: str) -> bool:
    """Whether any of these channels took the words within `WITHIN` seconds; all of them are tried at the same time.

    `urls` are apprise's (https://appriseit.com/services): they hold secrets, so neither they nor the words are logged.
    A false answer may be a message that arrives later.
    """
    return any(await asyncio.gather(*(_taken(url, words) for url in urls)))


async def is_usable(url: str) -> bool:
    """Whether `apprise` understands the address. Asked at the start, it also spares the first message the loading."""
    return await asyncio.wrap_future(_apart(lambda: _channel(url) is not None))


async def _taken(url: str, words: str) -> bool:
    sending = asyncio.wrap_future(_apart(lambda: _send(url, words)))
    try:
        async with asyncio.timeout(WITHIN):
            return await asyncio.shield(sending)
    except TimeoutError:
        return False


def _apart(work: Callable[[], bool]) -> "Future[bool]":
    """Done in a thread of its own, which nobody waits for when the process stops; a crash in it is a no."""
    outcome: Future[bool] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        done = False
        try:
            done = work()
        finally:
            outcome.set_result(done)

    threading.Thread(target=run, name="outside", daemon=True).start()
    return outcome


def _send(url: str, words: str) -> bool:
    channel = _channel(url)
    return channel is not None and bool(channel.notify(body=words))


def _channel(url: str) -> "Apprise | None":
    from apprise import Apprise, AppriseAsset  # here: 20 MB and 0.2 s that most services never need

    for speaker in SPEAKERS:
        logging.getLogger(speaker).setLevel(logging.CRITICAL + 1)
    channel = Apprise(asset=AppriseAsset(async_mode=False))  # in this thread, and not in one more
    return channel if channel.add(url) else None
