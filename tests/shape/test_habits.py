"""Habits that a reviewer would otherwise have to see each time."""

import ast
import re
from collections.abc import Iterator

from tests.shape.source import Source, under

LONGEST = 300
CATCHES_ALL = {
    "shared/kernel/log/consumer.py",
    "shared/kernel/log/relay.py",
    "shared/kernel/log/unreadable.py",
    "shared/kernel/machine/timers.py",
    "shared/kernel/process/layers.py",
    "shared/kernel/process/program.py",
    "shared/kernel/process/service.py",
    "services/hotline_intake/storeless/mirror.py",
}
"""Where a failure of any kind ends the process or is told: by dead letter, alarm, or a 500 that says what to do."""


def product() -> list[Source]:
    return under("services", "shared", "deploy")


def test_nothing_is_proven_against_a_mock() -> None:
    """Else a test shows only that we call what we call."""
    everything = [*product(), *under("tests")]
    assert [s.module for s in everything for i in s.imports() if i.within("unittest.mock", "mock", "pytest_mock")] == []


def test_only_the_kernel_catches_everything() -> None:
    """Else a bug is swallowed where it happens, and a call is lost without a crash, a log line or a dead letter."""

    paths = {f"{source.module.replace('.', '/')}.py" for source in product() if any(swallows(source))}
    assert paths - CATCHES_ALL == set()


def swallows(source: Source) -> Iterator[ast.AST]:
    """Each place that catches everything and does not raise it again."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and broad(node.type) and not isinstance(node.body[-1], ast.Raise):
            yield node
        if isinstance(node, ast.Call) and named(node.func) == "suppress" and any(map(broad, node.args)):
            yield node


def broad(caught: ast.expr | None) -> bool:
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(kind is None or named(kind) in {"Exception", "BaseException"} for kind in kinds)


def named(node: ast.expr) -> str:
    return str(getattr(node, "id", getattr(node, "attr", "")))


def test_a_file_is_short_or_says_at_its_top_why_not() -> None:
    """Else files grow by one more thing until nobody reads them whole."""
    long = [source for source in product() if len(source.lines) > LONGEST]
    assert [f"{s.module}: {len(s.lines)} lines" for s in long if "300 lines" not in "".join(s.lines[:8])] == []


def test_every_file_says_in_one_sentence_what_it_is() -> None:
    """Else the tree cannot be read from its first lines."""
    assert [s.module for s in product() if s.tree.body and not ast.get_docstring(s.tree)] == []


def test_only_one_file_reads_the_wall_clock() -> None:
    """Else a jump of the clock, or a test's own time, reaches some decisions and not others."""
    readers = {"now", "utcnow", "today", "time", "time_ns"}
    found = [
        source.module
        for source in under("services", "shared")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in readers
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"datetime", "date", "time"}
    ]
    assert set(found) <= {"shared.kernel.clock"}


def test_nothing_prints_past_the_log() -> None:
    """Else a line on stdout is neither JSON nor in any trace, and may hold anything."""
    sources = under("services", "shared")
    calls = [(s, node.func) for s in sources for node in ast.walk(s.tree) if isinstance(node, ast.Call)]
    assert [source.module for source, function in calls if named(function) == "print"] == []


def test_t4_only_0_to_9_are_digits() -> None:
    """Else a number typed in another script is one to a pattern, and another to whoever compares it: two cars come."""
    found = [
        f"{source.module}:{node.lineno}"
        for source in product()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\\[dwsDWS]", node.value)
    ]
    assert found == []


BYTES = {"shared.kernel.process.layers"}
"""There a digit is one of ten."""


def test_t4_what_is_asked_for_digits_is_asked_for_ascii() -> None:
    """Else ١ and १ pass for a digit."""
    asks = {"isdigit", "isdecimal", "isnumeric"}
    calls = [
        (source, node)
        for source in product()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr in asks
    ]
    wrong = {
        source.module for source, node in calls if f"{ast.unparse(node.value)}.isascii" not in ast.unparse(source.tree)
    }
    assert wrong <= BYTES
