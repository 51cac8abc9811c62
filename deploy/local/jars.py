"""Kafka's jars: each listed with its SHA-256, fetched one by one, checked before it is used."""

import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jgo.maven import MavenContext
from requests import RequestException

from deploy.local.folders import tools
from deploy.local.trouble import Trouble

LIST = Path(__file__).with_name("kafka-jars.txt")
MB = 1_000_000


@dataclass(frozen=True)
class Jar:
    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def listed(source: Path = LIST) -> tuple[Jar, ...]:
    return tuple(parsed(line) for line in source.read_text().splitlines() if line and not line.startswith("#"))


def parsed(line: str) -> Jar:
    coordinate, sha256, size = line.split()
    group, artifact, version = coordinate.split(":")
    return Jar(group, artifact, version, sha256, int(size))


def folder() -> Path:
    return tools() / "kafka"


def class_path() -> str:
    """In the list's order: Java's start-up cache holds only for the very same class path."""
    return os.pathsep.join(str(folder() / jar.name) for jar in listed())


def missing(jars: tuple[Jar, ...], home: Path) -> tuple[Jar, ...]:
    return tuple(jar for jar in jars if not (home / jar.name).exists() or (home / jar.name).stat().st_size != jar.size)


def fetch(home: Path, jars: tuple[Jar, ...], said: Callable[[int, int, int], None]) -> int:
    """Put what is missing into `home`; how many bytes that took. A jar appears there whole and checked or never."""
    wanted = missing(jars, home)
    home.mkdir(parents=True, exist_ok=True)
    cache = home.with_name("kafka.partial")
    shutil.rmtree(cache, ignore_errors=True)
    try:
        fetched = 0
        for count, jar in enumerate(one_by_one(wanted, cache, home), 1):
            fetched += jar.size
            said(len(jars) - len(wanted) + count, len(jars), fetched)
        return fetched
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def one_by_one(wanted: tuple[Jar, ...], cache: Path, home: Path) -> Iterator[Jar]:
    repository = os.environ.get("JINGYI_MAVEN")
    context = MavenContext(repo_cache=cache, remote_repos={"mirror": repository} if repository else None, timeout=20)
    with ThreadPoolExecutor(4) as pool:
        try:
            yield from pool.map(lambda jar: place(context, jar, home), wanted)
        finally:
            pool.shutdown(cancel_futures=True)


def place(context: MavenContext, jar: Jar, home: Path) -> Jar:
    try:
        found = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except RequestException as refusal:
        raise Trouble(
            f"{jar.name} could not be downloaded ({type(refusal).__name__}); check the network "
            "(or set JINGYI_MAVEN to a mirror) and run the same command again: it continues where it stopped."
        ) from refusal
    except (RuntimeError, ValueError) as broken:
        raise Trouble(f"{tampered(jar)} ({broken})") from broken
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    if digest != jar.sha256:
        raise Trouble(f"{tampered(jar)} (SHA-256 {digest[:12]}…, pinned {jar.sha256[:12]}…)")
    found.replace(home / jar.name)
    return jar


def tampered(jar: Jar) -> str:
    return (
        f"The download of {jar.name} is broken or was altered on its way and has been thrown away; "
        "run the same command again, and if it happens twice do not trust this network or mirror"
    )


def show(count: int, total: int, fetched: int) -> None:
    line = f"Kafka jars: {count} of {total}, {fetched / MB:.1f} MB"
    if sys.stdout.isatty():
        print(f"\r  {line}", end="" if count < total else "\n", flush=True)
    elif count % 15 == 0 or count == total:
        print(f"  {line}", flush=True)


def quiet() -> None:
    logging.getLogger("jgo").setLevel(logging.CRITICAL)
