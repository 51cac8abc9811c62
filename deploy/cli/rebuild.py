"""重建: a lost store made again from the log of record, or compared with it: `jingyi rebuild [--check]`."""

import asyncio
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from deploy.cli.asked import AsJson, State
from deploy.cli.client import ADAPTER, DISPATCH, INTAKE, RISK, console, done, printed
from deploy.local import folders, record
from deploy.local.ports import HOST
from deploy.local.trouble import Trouble
from shared.kernel import clock
from shared.kernel.machine.shards import TAGS, generation_name
from shared.kernel.machine.store import GENERATION
from shared.kernel.machine.vault import KEYS_TOPIC
from shared.kernel.process.settings import Settings

Reports = dict[str, dict[str, Any]]

PARTS = (INTAKE, RISK, DISPATCH, ADAPTER, KEYS_TOPIC)
ENTRY = re.compile(r"\{s[0-9]{2}\}:(?:(key):|([a-z0-9_]+):([a-z0-9_]+))")
OF_THE_MOMENT = frozenset({"lease", "due", "listed"})
"""What running services make anew by themselves; everything else in a store is somebody's life."""

REMARKS = {
    "unread": "records that no machine of the service can have said, left out",
    "torn": "instances of which the log lacks a commit: folded from what there is",
    "there": "instances that the store had already, left as they were",
    "recovered": "call-outs that were under way: asked of their desk by key, or held for a person",
}


def register(root: typer.Typer) -> None:
    """Make this command part of `jingyi`."""
    root.command()(rebuild)


def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Only compare Redis with the log; write nothing.")] = False,
    beside: Annotated[bool, typer.Option("--beside", help="Fill in what is missing beside what Redis has.")] = False,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Make an empty Redis again from Kafka: every state, deadline, list and known cause. Nothing is sent again.

    Exit code 0 when all went well, 1 when something could not be done or, with --check, something differs.
    """
    environment = surroundings(state or folders.run())
    reports = done(rebuilt(environment, check=check, beside=beside, quiet=as_json))
    if as_json:
        printed(reports)
    else:
        conclude(reports, check=check)
    if check and not all(report.get("equal", True) for report in reports.values()):
        raise typer.Exit(1)


def surroundings(home: Path) -> dict[str, str]:
    """The environment of a part: what the caller's says, else what the system in `home` says of itself."""
    programs = (record.find(home) or {}).get("programs", {})
    found = {"JINGYI_CITIES": str(home / "cities")} if (home / "cities").is_dir() else {}
    if programs.get("valkey"):
        found["JINGYI_REDIS_URL"] = f"redis://{HOST}:{programs['valkey']['port']}/0"
    if programs.get("kafka"):
        found["JINGYI_KAFKA"] = f"{HOST}:{programs['kafka']['port']}"
    return found | dict(os.environ)


async def rebuilt(environment: Mapping[str, str], *, check: bool, beside: bool, quiet: bool = False) -> Reports:
    """What every part came to, one process each. Trouble if the store is not empty, or a part does not end well."""
    settings = Settings()
    url = environment.get("JINGYI_REDIS_URL", settings.redis_url)
    found = await lives_in(url)
    if not check and await is_older_copy(url):
        raise Trouble(
            f"Redis at {url} 是旧副本，请先清空 is an older copy of what it was; Kafka has all of it, and newer. "
            f"Empty it (`valkey-cli -u {url} flushdb`), then run `jingyi rebuild` again."
        )
    if found and not check and not beside:
        named = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
        raise Trouble(
            f"Redis at {url} is not empty: {named}. Look first: `jingyi rebuild --check`. "
            "To fill in only what is missing there, use --beside; what is there stays as it is."
        )
    epoch = int(clock.now().timestamp())
    now: Reports = {part: {} for part in PARTS}
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(part: str, told: dict[str, Any]) -> None:
            now[part] = told
            if console.is_terminal and not quiet:
                live.update(drawn(now), refresh=True)

        work = [part_done(part, "check" if check else "rebuild", epoch, environment, show) for part in PARTS]
        ended = await asyncio.gather(*work)
    if not check:
        await whole_again(url, epoch)
    return dict(zip(PARTS, ended, strict=True))


async def whole_again(url: str, epoch: int) -> None:
    """Services that run learn that nothing is missing any more."""
    from redis.asyncio import Redis  # late, as below: a quarter of what the command costs to its first line

    async with Redis.from_url(url, socket_timeout=10) as redis:
        await redis.mset(dict.fromkeys((GENERATION, *map(generation_name, TAGS)), epoch))


async def is_older_copy(url: str) -> bool:
    """Whether a service has found that the store had been further before."""
    from redis.asyncio import Redis

    async with Redis.from_url(url, socket_timeout=10) as redis:
        return "older:" in str(await redis.get(GENERATION))


async def lives_in(url: str) -> Counter[str]:
    """What a store has that is not of the moment: service and machine, and how many. Trouble if it does not answer."""
    found: Counter[str] = Counter()
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    try:
        async with Redis.from_url(url, socket_timeout=10) as redis:
            async for name in redis.scan_iter(count=5000):
                entry = ENTRY.match(name.decode())
                what = entry and (entry[1] or entry[3])
                if entry is None or what in OF_THE_MOMENT or name.endswith(b":listed"):
                    continue
                if what == "outbox":
                    found[f"rows in the outbox of {entry[2]}"] += await redis.xlen(name)
                else:
                    found["case keys" if entry[1] else f"{what}s of {entry[2]}"] += 1
    except (RedisError, OSError) as silence:
        raise Trouble(f"Redis at {url} does not answer ({type(silence).__name__}). Start an empty one first.") from None
    return +found


async def part_done(
    part: str, mode: str, epoch: int, environment: Mapping[str, str], show: Callable[[str, dict[str, Any]], None]
) -> dict[str, Any]:
    """One part from its start to its end; Trouble with its last words if it fails."""
    command = (sys.executable, "-m", "deploy.cli.rebuilding", part, mode, str(epoch))
    process = await asyncio.create_subprocess_exec(
        *command, env=dict(environment), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: dict[str, Any] = {}
    complaints = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            said = json.loads(line)
            show(part, said.get("done", said))
    finally:
        if process.returncode is None and "done" not in said:
            process.terminate()
        await process.wait()
    if process.returncode:
        last = (await complaints).decode(errors="replace").strip().rpartition("\n")[2]
        raise Trouble(f"The rebuild of {part} ended early: {last}. What it wrote stays; go on with --beside.")
    await complaints
    ended: dict[str, Any] = said["done"]
    return ended


def drawn(reports: Mapping[str, Mapping[str, Any]]) -> Table:
    """One line for each part."""
    table = Table("part", "records", "instances", "records/s", "seconds", "hash of the log", "hash of Redis")
    for part, report in reports.items():
        seconds = report.get("seconds")
        rate = f"{report['records'] / max(seconds, 0.1):.0f}" if seconds and "records" in report else ""
        read = f"{report.get('records', '')}" + (f" / {report['of']}" if "of" in report else "")
        hashes = (str(report.get("hash", ""))[:16], str(report.get("store", ""))[:16])
        table.add_row(part, read, str(report.get("instances", "")), rate, str(seconds or ""), *hashes)
    return table


def conclude(reports: Reports, *, check: bool) -> None:
    """The table, what was remarkable, and what cannot be known here."""
    console.print(drawn(reports), soft_wrap=False)
    for part, report in reports.items():
        for name, words in REMARKS.items():
            if report.get(name):
                console.print(f"  {part}: {report[name]} {words}: {', '.join(report['named'][name][:3])} …")
        for instance, what in report.get("differing", {}).items():
            console.print(f"  {part} {instance}: {what}", style="red")
    if check:
        same = all(report.get("equal", True) for report in reports.values())
        running = "A service that runs may be a moment ahead of the log; look again."
        console.print("Redis holds exactly what the log tells." if same else f"They differ. {running}")
        return
    console.print(
        "What had been committed but not yet relayed when the store was lost is in no log, and cannot be known here; "
        "services that run now hear the last seconds before it again. "
        "How much that can be: `outbox_waits_s` at /health/ready of each service just before (0 means under 2 s)."
    )
