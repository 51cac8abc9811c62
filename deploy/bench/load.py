"""One block of load on one pipeline: so many saves at a rate, and when both desks had each."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from uuid_utils import uuid7

ANSWERS = {"cssrs-screener/1": {"1": True, "2": True, "4": True}, "acute-criteria/1": {"in_progress": True}}
CITY = "140700"
AT_ONCE = 48
"""Saves under way at the most when flat out."""

ARRIVE_WITHIN = 60.0
"""Seconds after the last save until a case counts as lost."""

Save = Callable[[UUID], Awaitable[None]]


@dataclass(frozen=True)
class Block:
    """Latencies in milliseconds, save sent → both desks have it; `seconds` from the first save to the last arrival."""

    latencies: list[float]
    seconds: float

    @property
    def rate(self) -> float:
        """Escalations per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """By nearest rank."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Product:
    """Saves through the product's own API, on calls opened beforehand with a place read back and a brief."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"authorization": f"Bearer {token}", "x-actor": "bench"}
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        self._client = httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30, trust_env=False)

    async def prepare(self, cases: list[UUID]) -> None:
        """Open the calls."""
        gate = asyncio.Semaphore(16)

        async def opened(case: UUID) -> None:
            async with gate:
                path = f"/cities/{CITY}/calls/{case}"
                await self._ask("PUT", path, {"caller": "13800000000"}, "open")
                place = {"confidence": "read_back", "city": CITY, "text": "榆次区某小区3号楼1单元602"}
                await self._ask("POST", f"{path}/places", place, "place")
                await self._ask("POST", f"{path}/briefs", {"sex": "女", "age": "26", "means": "高处"}, "brief")

        await asyncio.gather(*map(opened, cases))

    async def save(self, case: UUID) -> None:
        """Save the answers that call out both desks."""
        await self._ask("POST", f"/cities/{CITY}/calls/{case}/screenings", {"answers": ANSWERS}, "save")

    async def _ask(self, method: str, path: str, body: Any, key: str) -> None:
        answer = await self._client.request(method, path, json=body, headers={"idempotency-key": key})
        answer.raise_for_status()


class Bare:
    """Saves into the bare pipeline."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        self._client = httpx.AsyncClient(base_url=url, limits=limits, timeout=30, trust_env=False)

    async def prepare(self, cases: list[UUID]) -> None:
        """Nothing is needed."""

    async def save(self, case: UUID) -> None:
        """One save."""
        answer = await self._client.post("/saves", json={"case": str(case), "answers": ANSWERS})
        answer.raise_for_status()


async def prepared(pipeline: Product | Bare, saves: int) -> list[UUID]:
    """Fresh cases that the pipeline is ready to take a save for."""
    cases = [UUID(bytes=uuid7().bytes) for _ in range(saves)]
    await pipeline.prepare(cases)
    await asyncio.sleep(1)
    return cases


async def block(pipeline: Product | Bare, desks: list[str], cases: list[UUID], rate: int | None) -> Block:
    """One save a case at `rate` a second, or as fast as they are taken if None. RuntimeError counts what got lost."""
    await _arrivals(desks)
    sent = await (_paced(pipeline.save, cases, rate) if rate else _flat_out(pipeline.save, cases))
    arrived: dict[str, list[float]] = {str(case): [] for case in cases}
    deadline = time.monotonic() + ARRIVE_WITHIN
    while any(len(times) < len(desks) for times in arrived.values()):
        if time.monotonic() > deadline:
            late = sum(len(times) < len(desks) for times in arrived.values())
            raise RuntimeError(f"{late} of {len(cases)} saves had not reached both desks after {ARRIVE_WITHIN:.0f} s.")
        await asyncio.sleep(0.2)
        for case, moment in await _arrivals(desks):
            if case in arrived:
                arrived[case].append(moment)
    latencies = [(max(arrived[str(case)]) - sent[case]) * 1000 for case in cases]
    return Block(latencies, max(max(times) for times in arrived.values()) - min(sent.values()))


async def _paced(save: Save, cases: list[UUID], rate: int) -> dict[UUID, float]:
    sent: dict[UUID, float] = {}
    start = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for n, case in enumerate(cases):
            await asyncio.sleep(max(0.0, start + n / rate - time.monotonic()))
            sent[case] = time.time()
            tasks.create_task(save(case))  # type: ignore[arg-type]
    return sent


async def _flat_out(save: Save, cases: list[UUID]) -> dict[UUID, float]:
    sent: dict[UUID, float] = {}
    waiting = iter(cases)

    async def sender() -> None:
        for case in waiting:
            sent[case] = time.time()
            await save(case)

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return sent


async def _arrivals(desks: list[str]) -> list[tuple[str, float]]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = [await client.get(f"{desk}/arrivals") for desk in desks]
    return [arrival for answer in answers for arrival in answer.json().items()]
