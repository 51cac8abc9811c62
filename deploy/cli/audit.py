"""核对账 by hand: every escalation of a period with what became of it: `jingyi audit [--since 24h]`."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import httpx
import typer

from deploy.cli.asked import SUPERVISOR, Actor, AsJson, State
from deploy.cli.client import AUDITOR, Whereabouts, console, done, printed, running_system
from deploy.cli.fates import FATES, TURNS
from deploy.cli.wording import TIERS, Words, coded, desk
from deploy.local import folders
from deploy.local.packs import CITIES
from shared.contract.audit import MACHINE_WITHIN, AccountsView, DeskLine, EscalationLine, Fate
from shared.contract.city import Cities
from shared.contract.ledger import LedgerRow
from shared.kernel import clock
from shared.kernel.process.settings import read_packs

HERE = ZoneInfo("Asia/Shanghai")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
ANSWER_WITHIN = 5.0
KAFKA_WITHIN = 120.0
"""Seconds."""

Logged = tuple[tuple[EscalationLine, ...], int]
"""What Kafka tells: every escalation, and how many drills."""

LEGEND = "秒数自呼救起 seconds since help was called for: 送达 delivered, 签收 accepted, 告警 rang, 撤回 stood down"


@dataclass(frozen=True)
class Audit:
    """What was found. `silent` names the sources that did not answer."""

    lines: tuple[EscalationLine, ...]
    drills: int
    silent: tuple[str, ...]

    @property
    def unaccounted(self) -> int:
        """Escalations of which nobody can say who has them."""
        return sum(one.fate is Fate.UNACCOUNTED for one in self.lines)


def register(root: typer.Typer) -> None:
    """Make this command part of `jingyi`."""
    root.command()(audit)


def audit(
    since: Annotated[str, typer.Option("--since", help="How far back: 30m, 24h, 7d …")] = "24h",
    actor: Actor = SUPERVISOR,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """The fate of every escalation in Kafka, and of those that only the auditor knows yet.

    Exit code 0 when Kafka answered and nobody is unaccounted for, else 1.
    """
    start = clock.now() - period(since)
    found = done(audited(running_system(state), cities(state), start, actor))
    show_json(found) if as_json else show(found, since)
    if found.unaccounted or "kafka" in found.silent:
        raise typer.Exit(1)


def period(since: str) -> timedelta:
    """`30m`, `24h` or `7d`."""
    said = re.fullmatch(r"([0-9]{1,5})([mhd])", since)
    if said is None:
        raise typer.BadParameter(f"{since!r} is no period; write 30m, 24h or 7d.", param_hint="--since")
    return timedelta(**{UNITS[said[2]]: int(said[1])})


def cities(state: Path | None) -> Cities:
    """The packs of the running system, else those that were shipped."""
    here = (state or folders.run()) / "cities"
    return read_packs(here if here.is_dir() else CITIES)


async def audited(where: Whereabouts, packs: Cities, start: datetime, actor: str) -> Audit:
    """Kafka's account of the period, with what the auditor remembers beside it."""
    logged, remembered = await asyncio.gather(_logged(where.kafka, packs, start), _remembered(where, actor))
    now = clock.now()
    lines, drills = logged or ((), remembered.drills if remembered else 0)
    known = {one.case: one for one in lines}
    if remembered:
        known = {one.case: one for one in remembered.lines if logged is None and one.raised_at >= start} | known
        rows = (row for row in remembered.ledger.rows if row.case not in known and not row.drill)
        known |= {row.case: _of_row(row, now) for row in rows}
    silent = [name for name, answer in (("kafka", logged), (AUDITOR, remembered)) if answer is None]
    return Audit(tuple(sorted(known.values(), key=_raised)), drills, tuple(silent))


async def _logged(kafka: str, packs: Cities, start: datetime) -> Logged | None:
    from aiokafka.errors import KafkaError

    from shared.kernel.log.kafka import KafkaBus

    # The auditor's own reading of Kafka, so that both say the same of one escalation.
    read: Callable[..., Awaitable[Logged]] = import_module("services.auditor.kafka_reader").read_escalations
    try:
        async with asyncio.timeout(KAFKA_WITHIN):
            return await read(KafkaBus(kafka), packs, start, clock.now)
    except (KafkaError, OSError, TimeoutError):
        return None


async def _remembered(where: Whereabouts, actor: str) -> AccountsView | None:
    headers = {"authorization": f"Bearer {where.token}", "x-actor": actor}
    try:
        async with httpx.AsyncClient(timeout=ANSWER_WITHIN, trust_env=False) as http:
            answer = await http.get(f"{where.urls[AUDITOR]}/accounts", headers=headers)
            return AccountsView.model_validate_json(answer.raise_for_status().content)
    except (KeyError, httpx.HTTPError, ValueError):
        return None


def _of_row(row: LedgerRow, now: datetime) -> EscalationLine:
    """A row of the ledger that Kafka has nothing of: a person was told, or its machine is late."""
    armed = row.armed_at or now
    late = Fate.UNACCOUNTED if armed + MACHINE_WITHIN <= now else Fate.UNDER_WAY
    fate = Fate.WITH_PEOPLE if row.alarming else late
    return EscalationLine(case=row.case, city=row.city, spoken_number=row.spoken_number, raised_at=armed, fate=fate)


def show(found: Audit, since: str) -> None:
    """The account as a person reads it, in 80 columns."""
    for name in found.silent:
        console.print(f"⚠ {name} 没有应答 did not answer", style="red")
    for one in found.lines:
        for text, style in written(one):
            console.print(text, style=style)
    if found.lines:
        console.print(LEGEND, style="dim")
    console.print(total(found, since), style="red" if found.unaccounted or found.silent else "green")


def written(one: EscalationLine) -> Iterable[tuple[str, str]]:
    """One escalation: when, which, why, its fate; and a line for each of its desks."""
    bad = one.fate is Fate.UNACCOUNTED
    why = TIERS[one.tier] if one.tier else Words("", "")
    hand = coded("escalated_by_hand") if one.by else Words("", "")
    said = " ".join(filter(None, (why.zh, why.en, hand.zh, one.by or "")))
    at = f"{one.raised_at.astimezone(HERE):%m-%d %H:%M:%S}"
    fate = FATES[one.fate]
    yield f"{at}  {one.spoken_number}  {said} → {fate.zh} {fate.en}", "bold red" if bad else "bold"
    for called in one.desks:
        yield f"  {_desk(called, one)}", ""


def _desk(called: DeskLine, one: EscalationLine) -> str:
    turn = TURNS[called.turn] if called.acts else coded("warn")
    times = (
        ("送达", called.delivered_at),
        ("签收", called.accepted_at or called.settled_at),
        ("告警", called.rung_at),
        ("撤回", called.stand_down_at),
    )
    seconds = [f"{name} +{(at - one.raised_at).total_seconds():.2f}" for name, at in times if at is not None]
    number = f"no. {called.event_no}" if called.event_no and called.event_no != "-" else ""
    again = f"#{called.n}" if called.n > 1 else ""
    name = f"{desk(called.desk, one.city).zh}{again} {turn.zh} {turn.en}"
    return " · ".join(filter(None, (name, " ".join(seconds), number, called.by)))


def total(found: Audit, since: str) -> str:
    """The last line."""
    fates = Counter(one.fate for one in found.lines)
    counted = [f"{FATES[fate].zh} {FATES[fate].en} {n}" for fate, n in fates.items() if fate is not Fate.UNACCOUNTED]
    first = f"{since}: {len(found.lines)} 起升级 escalations, {found.drills} 个演练案件 drill cases"
    second = f"{' · '.join(counted)}\n" if counted else ""
    unknown = " (Kafka 未读 not read)" if "kafka" in found.silent else ""
    return f"{first}\n{second}未落实 unaccounted: {found.unaccounted}{unknown}"


def show_json(found: Audit) -> None:
    """The same for programs."""
    lines: Sequence[object] = [one.model_dump(mode="json", exclude_none=True) for one in found.lines]
    printed({"lines": lines, "drills": found.drills, "silent": found.silent, "unaccounted": found.unaccounted})


def _raised(one: EscalationLine) -> datetime:
    return one.raised_at
