"""Small HTML tables, for notebooks that show a store or a table of heuristics. Everything in them is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from inoc.reading import printable


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as HTML.

    Args:
        caption: What is above it.
        head: Names of the columns.
        rows: Cells, as text.

    Returns:
        One `<table>` element, without a style of its own.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_safe(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><caption>{_safe(caption)}</caption>{line(head, 'th')}{body}</table>"


def _safe(text: str) -> str:
    return escape(printable(text))
