"""Every link of a page leads to a file, and to a heading in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links."""
    heads = [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]
    return {"".join(c for c in head if c.isalnum() or c in "-_ ").strip().replace(" ", "-") for head in heads}


def broken(page: Path, text: str) -> list[str]:
    found = []
    for target, anchor in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        place = page.parent / target if target else page
        known = place == page or place.exists()
        if known and anchor:
            known = anchor in anchors(text if place == page else place.read_text("utf-8"))
        if not known:
            found.append(f"{target}#{anchor}")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    assert not broken(ROOT / page, (ROOT / page).read_text("utf-8"))


def test_a_broken_link_is_found():
    text = "# A heading\n[a](#a-heading) [b](cli.md#inoc-train) [c](gone.md) [d](cli.md#gone) [e](https://x.org)"
    assert broken(ROOT / "docs" / "planted.md", text) == ["gone.md#", "cli.md#gone"]
