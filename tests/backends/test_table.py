"""The page of backends is what the code says."""

from dataclasses import fields
from pathlib import Path

from make.backends import COLUMNS, page

from inoc.backends import list_backends
from inoc.backends.protocols import Capabilities
from inoc.backends.registry import SHIPPED

DOCS = Path(__file__).parents[2] / "docs" / "backends"


def test_the_page_is_current() -> None:
    assert (DOCS / "README.md").read_text() == page(list_backends()), "run `make docs`"


def test_every_capability_and_every_shipped_backend_is_in_it() -> None:
    assert set(COLUMNS) == {field.name for field in fields(Capabilities)}
    head, _, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page(list_backends()).splitlines()
        if line.startswith("|")
    )
    assert {len(row) for row in rows} == {len(head)} == {2 + len(COLUMNS)}
    assert [row[0].split("`")[1] for row in rows] == list(SHIPPED)
    scores = {row[0].split("`")[1]: row[head.index("scores")] for row in rows}
    assert scores["local"] == "yes"
    assert scores["openai"] == ""
