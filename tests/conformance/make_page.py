"""Make docs/conformance.md, which the tests compare with what they find:

python -m tests.conformance.make_page
"""

import inspect
import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from .doctors import experiment
from .matrix import COLUMNS, PLANTED, name_of, written_stores

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
HEAD = """# Planted bugs, and what catches them

<!-- Written by `python -m tests.conformance.make_page`. -->

What passing the suites of `inoc.testing` means: every row is a plugin that is wrong in one way, and the first test that
fails on it. For backends, what `inoc doctor` says of it: where the local backend scores the same model, where it does
not, and with `--train`; `no` is not seen. The doctor looks at samples only where it has no reference. inoc's own
tests plant each of these bugs and compare what they find with this page; sound plugins pass every test.
[Write a backend](write-a-backend.md) shows how to use the suites.
"""
ROW = re.compile(r"^\| `(\w+)` \| [^|]* \| (.*) \|$", re.M)


def said(page: str) -> Mapping[str, tuple[str, ...]]:
    """What sees each bug, as the page says."""
    return {name: tuple(cells.split(" | ")) for name, cells in ROW.findall(page)}


class Folders:
    """What `tmp_path_factory` gives."""

    def __init__(self, root: str) -> None:
        self.root = root

    def mktemp(self, name: str, numbered: bool = True) -> Path:
        return Path(tempfile.mkdtemp(prefix=name, dir=self.root))


def page() -> str:
    """The page, by running every bug."""
    parts = [HEAD]
    with tempfile.TemporaryDirectory() as root:
        folders = Folders(root)
        stores = written_stores(folders)  # type: ignore[arg-type]
        study = experiment()
        for kind in dict.fromkeys(planted.kind for planted in PLANTED):
            titles = ["bug", "what is wrong", "suite", *COLUMNS.get(kind, ())]
            head = " | ".join(titles)
            parts.append(f"\n## {name_of(kind)}\n\n| {head} |\n|{'---|' * len(titles)}\n")
            for planted in PLANTED:
                if planted.kind is kind:
                    found = planted.row(stores, folders, study)  # type: ignore[arg-type]
                    parts.append(f"| `{planted.name}` | {inspect.getdoc(planted.bug)} | {' | '.join(found)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    with warnings.catch_warnings(action="ignore"):
        PAGE.write_text(page(), encoding="utf-8")
