"""The whole measurement: product and bare pipeline side by side, block after block, and what it comes to."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from deploy.bench import bare
from deploy.bench.load import Bare, Block, Product, block, prepared
from deploy.local import topics
from deploy.local.ports import HOST, Ports, free
from deploy.local.supervisor import Program, Step, answers_ready
from deploy.local.system import SERVICES, Items, Plan, Running, system

DAY = 86_400
STAGES = ("intake", "risk", "dispatch", "adapter")


@dataclass(frozen=True)
class Size:
    """How much is measured: blocks of each pipeline, saves in a block, rates in saves per second."""

    blocks: int = 7
    saves: int = 500
    rates: tuple[int, ...] = (20, 50)


@dataclass
class Measured:
    """Blocks by rate (None is flat out) and pipeline; CPU seconds of each process over the product's blocks."""

    blocks: dict[int | None, dict[str, list[Block]]] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    escalations: int = 0


async def measure(state: Path, size: Size, told: Callable[[str], None]) -> dict[str, Any]:
    """Start everything on free ports, measure, and return the report."""
    stages = dict(zip(STAGES, free(len(STAGES)), strict=True))
    async with system(state, Ports.free(), items=lambda plan: _items(plan, stages)) as running:
        desks = [running.urls["desk_110"], running.urls["desk_120"]]
        product = Product(running.urls["hotline_intake"], running.api_token)
        pipelines: dict[str, Bare | Product] = {"bare": Bare(f"http://{HOST}:{stages['intake']}"), "system": product}
        measured = Measured()
        for name, pipeline in pipelines.items():
            told(f"warming up: {name}")
            await block(pipeline, desks, await prepared(pipeline, 200), 50)
        for rate in (*size.rates, None):
            for n in range(size.blocks):
                for name, pipeline in pipelines.items():
                    cases = await prepared(pipeline, size.saves)
                    before = _cpu(running)
                    done = await block(pipeline, desks, cases, rate)
                    measured.blocks.setdefault(rate, {}).setdefault(name, []).append(done)
                    if name == "system":
                        _spent(measured, before, _cpu(running), size.saves)
                    told(_line(rate, n, size.blocks, name, done))
        return report(measured, size)


def report(measured: Measured, size: Size) -> dict[str, Any]:
    """Medians over blocks; ratios are medians of the ratios of neighbouring blocks."""
    rates = {str(rate): _rate(measured.blocks[rate]) for rate in size.rates}
    flat = measured.blocks[None]
    return {
        "rates": rates,
        "flat_out": {
            "bare_per_s": round(statistics.median(b.rate for b in flat["bare"]), 1),
            "system_per_s": round(statistics.median(b.rate for b in flat["system"]), 1),
            "ratio": _ratio(flat, lambda b: b.rate),
        },
        "cpu_ms_per_escalation": {
            name: round(1000 * spent / measured.escalations, 2) for name, spent in measured.cpu.items()
        },
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "blocks": size.blocks,
            "saves_per_block": size.saves,
        },
    }


def write(found: dict[str, Any], to: Path) -> None:
    """As `bench.json`."""
    to.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def _rate(blocks: dict[str, list[Block]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: {
            "p50_ms": round(statistics.median(b.percentile(0.5) for b in those), 1),
            "p99_ms": round(statistics.median(b.percentile(0.99) for b in those), 1),
        }
        for name, those in blocks.items()
    }
    found["ratio_p50"] = _ratio(blocks, lambda b: b.percentile(0.5))
    found["ratio_p99"] = _ratio(blocks, lambda b: b.percentile(0.99))
    return found


def _ratio(blocks: dict[str, list[Block]], figure: Callable[[Block], float]) -> float:
    pairs = zip(blocks["system"], blocks["bare"], strict=True)
    return round(statistics.median(figure(system) / figure(plain) for system, plain in pairs), 2)


def _items(plan: Plan, stages: dict[str, int]) -> Items:
    """The product with bench desks and day-long human clocks, and the bare pipeline beside it on the same Kafka."""
    _quiet_clocks(plan.state / "cities" / "140700.yaml")
    desks = [f"{plan.urls[name]}/callouts" for name in ("desk_110", "desk_120")]

    async def bare_topics() -> None:
        whole = {"retention.ms": "-1", "cleanup.policy": "delete"}
        await topics.create(plan.kafka, [topics.Topic(name, 12, whole) for name in bare.TOPICS])

    def stage(name: str) -> Program:
        argv = (sys.executable, "-m", "deploy.bench.bare", name, *(desks if name == "adapter" else ()))
        environment = {**plan.environment("hotline_intake"), "JINGYI_PORT": str(stages[name])}
        port = stages[name]
        return Program(f"bare_{name}", argv, answers_ready(port), ("bare_topics",), environment, port)

    return (
        *plan.platform(),
        Step("bare_topics", bare_topics, needs=("topics",)),
        plan.program("collector", "deploy.local.collector"),
        *(plan.program(name, f"services.{name}", ("valkey", "topics", "collector")) for name in SERVICES),
        *(plan.program(name, "deploy.bench.desk") for name in ("desk_110", "desk_120")),
        *(stage(name) for name in STAGES),
    )


def _quiet_clocks(pack: Path) -> None:
    """Bench desks accept and report nothing more: overdue marks of earlier blocks are no part of a later one."""
    city = yaml.safe_load(pack.read_text(encoding="utf-8"))
    city["clocks"] = {**city.get("clocks", {}), **dict.fromkeys(("assign", "roll", "arrive", "contact"), DAY)}
    pack.write_text(yaml.safe_dump(city, allow_unicode=True, sort_keys=False), encoding="utf-8")


def _cpu(running: Running) -> dict[str, float]:
    pids = {**running.pids, "driver": os.getpid()}
    return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in pids.items()}


def _spent(measured: Measured, before: dict[str, float], after: dict[str, float], saves: int) -> None:
    measured.escalations += saves
    for name in after:
        if not name.startswith("bare_"):
            measured.cpu[name] = measured.cpu.get(name, 0.0) + after[name] - before[name]


def _line(rate: int | None, n: int, blocks: int, name: str, done: Block) -> str:
    pace = f"{rate}/s" if rate else "flat out"
    p50, p99 = done.percentile(0.5), done.percentile(0.99)
    return f"{pace:>8}  block {n + 1}/{blocks}  {name:<6}  p50 {p50:7.1f} ms  p99 {p99:7.1f} ms  {done.rate:6.1f}/s"


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
