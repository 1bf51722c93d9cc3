"""Panels: alone, of several stores side by side, and at the width of a paper; scatters with a line per prefix type."""

import json
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
from click.testing import CliRunner

import inoc
from inoc.cli import cli
from inoc.figures import catalog, house, scatter
from inoc.figures.labels import PointLabels, along
from inoc.figures.layout import MM, PRESETS, Panels, beside
from inoc.figures.sources import Source


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def panel(low, high, label="score (pp)"):
    def plot(*, ax):
        ax.plot([0, 1], [low, high])
        ax.set(xlabel="step", ylabel=label)
        ax.set_title("panel")
        return ax

    return plot


def test_stores_beside_each_other_share_what_means_the_same():
    found = {"A": Panels([panel(0, 10), panel(0, 5, "loss")]), "B": Panels([panel(5, 90)])}
    figure = beside(found, ["C"]).draw()
    first, second, third, empty = figure.axes
    assert [ax.get_title("left") for ax in figure.axes] == ["A\npanel", "B\npanel", "A\npanel", ""]
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[1] > 89
    assert third.get_ylim()[1] < 6, "another quantity keeps its own limits"
    assert not empty.axison
    assert "Not drawn: C." in house.caption(figure)


def test_five_stores_take_two_rows():
    figure = beside({name: Panels([panel(0, 1)]) for name in "ABCDE"}).draw()
    assert [ax.get_title("left")[:1] for ax in figure.axes] == ["A", "B", "C", "D", "E", "", "", ""]


def test_pages_of_a_paper_hold_every_panel_once():
    drawn = []

    def plot(number, *, ax):
        drawn.append(number)
        return panel(0, number)(ax=ax)

    whole = Panels([partial(plot, i) for i in range(11)], columns=3, height=3.0)
    for preset, columns in (("one-column", 1), ("two-column", 3)):
        drawn.clear()
        for page in whole.pages(PRESETS[preset]):
            figure = page.draw()
            assert page.columns == columns
            assert figure.get_figwidth() == pytest.approx(PRESETS[preset].width * MM)
            assert figure.get_figheight() <= PRESETS[preset].tallest * MM
        assert drawn == list(range(11))


@pytest.mark.slow  # draws three times
def test_several_stores_are_drawn_alone_and_together(small, misaligned, one_role, tmp_path):
    options = [str(small), str(one_role), "--store", str(misaligned), "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(cli, ["figures", *options, "--only", "losses,rates", "--preset", "two-column"])
    assert done.exit_code == 0, done.output
    records = {(r["figure"], r["store"]): r for r in json.loads(done.stdout)}
    assert len(records) == 12, "two figures of three stores, and of all"
    names = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.pdf")}
    assert names == {"small/losses.pdf", "one/losses.pdf", "losses.pdf", "em/rates.pdf"}
    assert "Not drawn: em." in records["losses", ""]["caption"]
    assert "1 of 3 stores" in records["rates", ""]["reason"]
    fonts = (tmp_path / "out" / "losses.pdf").read_bytes()
    assert b"/FontFile2" in fonts, "fonts are embedded"


@pytest.fixture(scope="module")
def source(small):
    return Source(inoc.open_store(small))


def test_a_family_is_of_one_prefix_type_and_trait_by_trait(source):
    figure = next(e for e in catalog.entries() if e.name == "scatter_basic_mix").draw(source)
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles == ["German, mix"] * 6 + ["Flattering, mix"] * 6
    data = inoc.figures.heuristic_scatter_data(source.store, trait="German", prefix_type="mix", table=source.rows)
    rows = source.rows.isel(row=(source.rows["trait"] == "German") & (source.rows["prefix_type"] == "mix"))
    rows = rows.isel(row=rows["on_target"].values.astype(bool))
    assert sorted(data["y"].values) == sorted(rows["suppression"].values)
    for ax in figure.axes:
        (box,) = ax.texts
        assert f"n = {data.sizes['row']}, " in box.get_text().replace("\n", " ")


def test_every_cell_of_the_gap_grid_has_its_panel(source):
    panels = next(e for e in catalog.entries() if e.name == "gap_scatter").panels(source)
    assert (len(panels.plots), panels.columns) == (60, 6)
    kept = panels.plots[0]
    assert kept.keywords["trait"] == "German"
    assert panels.plots[3].keywords["trait"] == "Flattering"


def points(n, kinds=("fixed", "mix"), slope=(1.0, -1.0)):
    rng = np.random.default_rng(0)
    x = np.tile(np.linspace(0.0, 1.0, n), len(kinds))
    of = np.repeat(np.arange(len(kinds)), n)
    y = 10 * np.array(slope)[of] * x + rng.normal(0, 0.1, len(x))
    keys = [f"prompt {i}" for i in range(n)] * len(kinds)
    return scatter.Points(x, y, y - 1, y + 1, keys, ["positive"] * len(x), [kinds[i] for i in of])


def test_fixed_and_mix_have_lines_of_their_own():
    fixed, mix = scatter.relations(points(8))
    assert fixed.found.r > 0.9
    assert mix.found.r < -0.9
    assert fixed.line.slope == pytest.approx(10, abs=0.5)
    assert mix.line.slope == pytest.approx(-10, abs=0.5)
    assert all(each.line is None and np.isnan(each.found.r) for each in scatter.relations(points(7)))


def test_no_name_lies_on_a_point_or_an_interval():
    ax = house.axes_or_new(None)
    given = points(12)
    scatter.draw(ax, given, names=8)
    ax.figure.canvas.draw()
    (labels,) = [a for a in ax.artists if isinstance(a, PointLabels)]
    shown = [text for text in labels.texts if text.get_visible()]
    assert shown
    dense = np.concatenate([np.column_stack([given.x, given.y]), along(given.x, given.lower, given.upper)])
    marks = ax.transData.transform(dense)
    for text in shown:
        box = text.get_window_extent()
        inside = (marks > box.min).all(axis=1) & (marks < box.max).all(axis=1)
        assert not inside.any(), text.get_text()
