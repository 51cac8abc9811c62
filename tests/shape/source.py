"""The tree as its syntax says it: every rule of shape reads this, never the text."""

import ast
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = tuple(sorted(path.parent.name for path in ROOT.glob("services/*/service.py")))
SERVICES = tuple(name for name in FOLDERS if name != "auditor")
"""Those that keep machines and say events; the auditor only reads."""


@dataclass(frozen=True)
class Import:
    """One name taken from one module; `name` is empty for `import module`."""

    module: str
    name: str

    @property
    def whole(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module

    def within(self, *packages: str) -> bool:
        return any(f"{self.whole}.".startswith(f"{package}.") for package in packages)


@dataclass(frozen=True)
class Source:
    """One file of ours."""

    path: Path

    @property
    def module(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.path)

    def imports(self) -> Iterator[Import]:
        """Also those inside functions: hiding an import does not turn it around."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, "") for alias in node.names)
            if isinstance(node, ast.ImportFrom):
                yield from (Import(node.module or "", alias.name) for alias in node.names)

    def functions(self) -> set[str]:
        """Those at the top of the file."""
        return {node.name for node in self.tree.body if isinstance(node, ast.FunctionDef)}


@cache
def _parsed(path: Path) -> ast.Module:
    gc.disable()  # CPython 3.11 forgets how deep it is when a finaliser warns while a tree is made
    try:
        return ast.parse(path.read_text(), str(path))
    finally:
        gc.enable()


def under(*folders: str) -> list[Source]:
    """Every Python file below these folders."""
    return [Source(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def pure(service: str) -> list[Source]:
    """The files that decide and fold in a service, with everything of the service that they stand on."""
    every = {source.module: source for source in under(f"services/{service}")}
    open_ones = [module for module, source in every.items() if source.functions() & {"decide", "evolve", "deadline"}]
    open_ones = [module for module in open_ones if not module.endswith(".service")]
    reached: set[str] = set()
    while open_ones:
        module = open_ones.pop()
        if module not in reached:
            reached.add(module)
            named = {name for i in every[module].imports() for name in (i.module, i.whole) if name in every}
            open_ones += named - {f"services.{service}"}
    return [every[module] for module in sorted(reached)]
