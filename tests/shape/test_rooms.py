"""The house in figures: each is held where it stands, so that the next change does not make the next one dearer."""

import ast
from collections import Counter
from functools import cache

from tests.shape.source import Source, under

FLOORS = 9
"""Of services/hotline_intake, file by file, from a file that imports none of the others to the process."""

FLAT_IN_KERNEL = 3
ONE_WORD = 0.48
LINES = 16_300

CORE = frozenset({"build", "deadline", "decide", "evolve", "learn", "machine", "routes", "run"})
"""The few verbs of one word that carry the whole idea; a service has one of each."""


def product() -> list[Source]:
    return under("services", "shared")


def public_functions(source: Source) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.name for node in ast.walk(source.tree) if isinstance(node, kinds) and not node.name.startswith("_")]


def test_a_seats_wish_passes_few_floors_on_its_way() -> None:
    """Else one JSON body becomes one command in six files again, and a new act is an edit in each of them."""
    rooms = {source.module: source for source in under("services/hotline_intake")}

    @cache
    def floor(module: str) -> int:
        named = {name for taken in rooms[module].imports() for name in (taken.module, taken.whole) if name in rooms}
        return 1 + max(map(floor, named - {module, "services.hotline_intake"}), default=0)

    floors = {module: floor(module) for module in rooms}
    assert max(floors.values()) <= FLOORS, sorted(floors.items(), key=lambda room: room[1])


def test_the_kernel_has_its_files_in_rooms() -> None:
    """Else it is a drawer again, in which nobody finds what they have not put there."""
    flat = [source.path.name for source in under("shared/kernel") if source.path.parent.name == "kernel"]
    assert len(set(flat) - {"__init__.py"}) <= FLAT_IN_KERNEL, flat


def test_a_class_has_its_name_for_itself() -> None:
    """Else a search for a name finds two things, and a reader follows the wrong one."""
    names = Counter(
        node.name
        for source in product()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_a_function_says_what_it_does_to_whom() -> None:
    """Else a call can be read only with its file open: one word means something else in every file."""
    names = [name for source in product() for name in public_functions(source)]
    one_word = Counter(name for name in names if "_" not in name)
    assert one_word.total() <= ONE_WORD * len(names), one_word.most_common(20)


def test_a_core_verb_of_one_word_is_a_functions_own() -> None:
    """Else `learn` or `decide` on its own no longer says which idea it is."""
    assert {name for source in product() for name in public_functions(source)} >= CORE


def test_the_product_does_not_grow_unseen() -> None:
    """Else what could have been deleted stays: raise this figure only for what a user gets for it."""
    assert sum(len(source.lines) for source in product()) <= LINES
