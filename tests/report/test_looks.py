"""Pictures and pages look alike: marks, fills, dashes and the scale of angles come from one definition."""

import re
from pathlib import Path

import pytest

from inoc import looks

house = pytest.importorskip("inoc.figures.house")
SHAPES = {"square": "s", "circle": "o", "triangle": "^", "diamond": "D"}
MARK = """const place = document.getElementById('scatter-legend'), made = glyph(arguments[0], arguments[1]);
    place.append(made);
    const style = getComputedStyle(made.querySelector('.mark'));
    return [made.querySelector('.mark').dataset.shape, style.stroke, style.fill];"""
ANGLES = """return [...document.querySelectorAll('#angles-legend .patch')]
    .map(p => [Number(p.parentElement.textContent.replace('°', '')), p.style.backgroundColor])"""


def rgb(color: str) -> list[int]:
    """Of `#0072B2`, a name matplotlib knows, or `rgb(0, 114, 178)`."""
    from matplotlib.colors import to_rgb

    if color.startswith("rgb"):
        return [int(part) for part in re.findall(r"\d+", color)][:3]
    return [round(255 * part) for part in to_rgb(color)]


@pytest.mark.parametrize("role", [*looks.COLORS, "unknown"])
def test_marks(browser, hostile_report: Path, role: str) -> None:
    browser.open(hostile_report)
    for kind in (*looks.SHAPES, "other"):
        shape, stroke, fill = browser.run(MARK, role, kind)
        assert SHAPES[shape] == house.MARKERS.get(kind, "D")
        assert rgb(stroke) == rgb(house.color(role))
        assert rgb(fill) == rgb(house.face(role))
        assert ("-" if kind not in browser.run("return LOOKS.dashed") else "--") == house.LINES.get(kind, "-")


def test_lines_of_curves_have_the_color_of_the_role(browser, hostile_report: Path) -> None:
    browser.open(hostile_report)
    found = browser.run(
        "return [...document.querySelectorAll('#curves-plot .run')]"
        ".map(g => [g.classList[1], getComputedStyle(g.querySelector('.curve')).stroke])"
    )
    assert {role for role, _ in found} == {"control", "positive", "negative", "neutral"}
    for role, stroke in found:
        if role != "control":
            assert rgb(stroke) == rgb(house.color(role))


def test_angles(browser, hostile_report: Path) -> None:
    browser.open(hostile_report)
    found = [row for row in browser.run(ANGLES) if row[1]]
    assert [value for value, _ in found] == [0, 45, 90, 135, 180]
    for value, color in found:
        drawn = [round(255 * part) for part in house.ANGLE_COLORS(value / 180)[:3]]
        assert rgb(color) == pytest.approx(drawn, abs=3)  # matplotlib has 256 steps


def test_angles_are_a_scale_that_people_know() -> None:
    from matplotlib import colormaps

    for value in range(0, 181, 15):
        assert house.ANGLE_COLORS(value / 180) == pytest.approx(colormaps["RdBu"](value / 180), abs=0.01)
