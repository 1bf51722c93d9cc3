"""What imports what: the drawing in docs/design.md is the truth, and nothing goes in a circle."""

import re
from itertools import chain
from pathlib import Path

import pytest

from .arrows import Import, cycles, forbidden, imports, modules, rooms_of, unused

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "inoc"
DRAWING = ROOT / "docs" / "design.md"


def drawn(page: str) -> dict[str, list[str]]:
    """The arrows of the drawing: who may import whom. A line `name = a b` names a group of rooms."""
    block = re.search(r"```arrows\n(.*?)```", page, re.DOTALL)
    assert block, "docs/design.md has no block ```arrows"
    groups: dict[str, list[str]] = {}
    arrows: dict[str, list[str]] = {}
    for line in block[1].splitlines():
        name, sign, targets = re.split(r"\s+(->|=)\s*", line.strip(), maxsplit=1)
        names = [part for target in targets.split() for part in groups.get(target, [target])]
        (groups if sign == "=" else arrows)[name] = names
    return {**{name: [] for group in groups.values() for name in group}, **arrows}


@pytest.fixture(scope="module")
def arrows() -> dict[str, list[str]]:
    return drawn(DRAWING.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found() -> list[Import]:
    return imports(PACKAGE)


def circles(found: list[Import]) -> list[tuple[str, ...]]:
    """Circles of modules; imports in functions and for types count. The public API at the top is typed lazily."""
    return cycles((item.source, item.target) for item in found if item.source != "inoc" or not item.typing_only)


def test_every_room_is_drawn(arrows):
    missing = rooms_of(modules(PACKAGE)) - set(arrows)
    assert not missing, f"draw {', '.join(missing)} in docs/design.md: a line 'name -> what it may import'"
    there = {name.removeprefix("inoc.") for name in modules(PACKAGE)}
    gone = {*arrows, *chain(*arrows.values())} - there
    assert not gone, f"drawn in docs/design.md, but not there: {', '.join(gone)}"


def test_imports_follow_the_arrows(arrows, found):
    assert not forbidden(found, arrows), "\n".join(forbidden(found, arrows))


def test_every_arrow_is_used(arrows, found):
    """Only the modules of the ground floor may be allowed without need."""
    packages = {room: [target for target in targets if (PACKAGE / target).is_dir()] for room, targets in arrows.items()}
    assert not unused(found, packages)


def test_the_drawing_has_no_circle(arrows):
    assert not cycles((room, target) for room, targets in arrows.items() for target in targets)


def test_no_circle(found):
    left = circles(found)
    assert not left, "\n".join(" - ".join(circle) for circle in left)


def planted(folder: Path, **files: str) -> list[Import]:
    """The imports of a small package `inoc`; `store__views` is the file store/views.py."""
    for name, text in files.items():
        path = folder / "inoc" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return imports(folder / "inoc")


@pytest.mark.parametrize(
    "back",
    [
        "from inoc.store.store import Store",
        "import inoc.store.store",
        "from . import store",
        "from .store import Store",
        "def late():\n    from inoc.store import store",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from inoc.store.store import Store",
        "def late():\n    return importlib.import_module('inoc.store.store')",
        "class A:\n    def late(self):\n        try:\n            import inoc.store.store\n        finally: ...",
    ],
)
def test_a_planted_circle_is_found(tmp_path, back):
    found = planted(tmp_path, store__store="from inoc.store.views import label", store__views=back)
    assert circles(found) == [("inoc.store.store", "inoc.store.views")]


def test_a_longer_circle_is_found(tmp_path):
    found = planted(tmp_path, a="import inoc.b", b="import inoc.c", c="import inoc.a", d="import inoc.a")
    assert circles(found) == [("inoc.a", "inoc.b", "inoc.c")]


def test_a_planted_import_without_an_arrow_is_found(tmp_path):
    found = planted(
        tmp_path,
        store__store="def late():\n    from inoc.stages.train import train",
        stages__train="from inoc.store.store import Store\nfrom inoc import errors",
        errors="",
    )
    arrows = drawn("```arrows\nground = errors\nstore -> ground\nstages -> store ground\n```")
    assert forbidden(found, arrows) == ["inoc.store.store:2 imports inoc.stages.train; no arrow store -> stages.train"]
    assert not forbidden(found, {**arrows, "store": ["stages"]})
    assert unused(found, arrows) == ["store -> errors"]


def test_arrows_inside_a_package(tmp_path):
    """A line for a part of a package counts for that part alone."""
    found = planted(tmp_path, heuristics__maths="import inoc.heuristics.frame", heuristics__frame="")
    assert not forbidden(found, drawn("```arrows\nheuristics ->\n```"))
    assert forbidden(found, drawn("```arrows\nheuristics ->\nheuristics.maths ->\n```"))
    assert not forbidden(found, drawn("```arrows\nheuristics ->\nheuristics.maths -> heuristics.frame\n```"))


def test_only_the_frame_reads_a_store():
    """All other files of heuristics see arrays."""
    for path in (PACKAGE / "heuristics").rglob("*.py"):
        if path.parent.name != "frame":
            assert "StoreLike" not in path.read_text(), path
            assert "open_store" not in path.read_text(), path
