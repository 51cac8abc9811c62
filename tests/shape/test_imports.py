"""Imports point inward: services → kernel → contract, and the pure files of a service stand on the contract alone."""

import sys

import pytest

from tests.shape.source import FOLDERS, Import, Source, pure, under

OUTWARD = {"asyncio", "http", "io", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess"} | {
    "threading",
    "time",
    "urllib",
}
"""Modules of the standard library that reach outside, wait, or answer differently each time."""

NAMED = {"Command", "DeadlinePassed", "Event", "Message", "Rejected"}


def wrong(sources: list[Source], *forbidden: str) -> list[str]:
    return [f"{s.module} imports {i.whole}" for s in sources for i in s.imports() if i.within(*forbidden)]


@pytest.mark.parametrize("service", FOLDERS)
def test_a_service_imports_no_other_service(service: str) -> None:
    """Else two services cannot be changed, deployed or killed apart, and Kafka is no longer the only way between."""
    others = [f"services.{other}" for other in FOLDERS if other != service]
    assert wrong(under(f"services/{service}"), *others) == []


@pytest.mark.parametrize("service", FOLDERS)
def test_what_decides_is_pure(service: str) -> None:
    """Else a decision depends on the network or the clock: it cannot be replayed, proven, or rebuilt from the log."""

    def allowed(taken: Import) -> bool:
        top = taken.module.split(".")[0]
        ours = taken.within("shared.contract", f"services.{service}", "pydantic")
        return ours or (top in sys.stdlib_module_names and top not in OUTWARD)

    found = [f"{s.module} imports {i.whole}" for s in pure(service) for i in s.imports() if not allowed(i)]
    assert found == []
    assert len(pure(service)) >= 2


def test_the_contract_stands_on_nothing_of_ours() -> None:
    """Else the published language changes when the machinery does."""
    assert wrong(under("shared/contract"), "shared.kernel", "shared.console", "services", "deploy", "tests") == []


def test_the_kernel_knows_no_event_by_name() -> None:
    """Else the machine has business in it, and a new event needs a new kernel."""
    language = {"shared.contract.event", "shared.contract.city", "shared.contract.terms"}
    taken = [(s.module, i) for s in under("shared/kernel") for i in s.imports() if i.within("shared.contract")]
    assert [f"{module} imports {i.whole}" for module, i in taken if i.module not in language] == []
    assert {i.name for _, i in taken if i.module == "shared.contract.event"} <= NAMED


def test_the_product_knows_neither_its_deployment_nor_its_tests() -> None:
    """Else a real desk runs code written for a simulated one."""
    assert wrong(under("services", "shared"), "deploy", "tests") == []
    assert wrong(under("shared"), "services") == []


def test_a_simulated_desk_shares_no_code_with_the_service_that_it_answers() -> None:
    """Else both are wrong in the same way and their tests agree."""
    desks = [source for source in under("deploy/local") if source.path.name.startswith("desk")]
    assert wrong(desks, "services") == []
    assert desks


ROOMS = ("machine", "log", "process", "rebuild")
"""The kernel's rooms, each on those before it; what lies flat is under them all."""


def test_a_room_of_the_kernel_stands_on_those_before_it() -> None:
    """Else the machine cannot be read without the log, nor the log without the process that carries it."""
    found = [
        found
        for at, room in enumerate(ROOMS)
        for found in wrong(under(f"shared/kernel/{room}"), *(f"shared.kernel.{above}" for above in ROOMS[at + 1 :]))
    ]
    flat = [source for source in under("shared/kernel") if source.path.parent.name == "kernel"]
    assert [*found, *wrong(flat, *(f"shared.kernel.{room}" for room in ROOMS))] == []


def test_few_files_lie_outside_the_rooms_of_the_kernel() -> None:
    """Else the kernel is a drawer again, and a newcomer opens each file to see what it is."""
    kernel = [source.path for source in under("shared/kernel")]
    assert {path.parent.name for path in kernel} <= {"kernel", "fallback", *ROOMS}
    assert len([path for path in kernel if path.parent.name == "kernel" and path.stem != "__init__"]) <= 3


def test_the_command_is_compiled_against_published_doors() -> None:
    """Else a change inside a service breaks what an operator has in hand, on a night when it is needed."""
    assert wrong(under("deploy/cli"), "services") == []
