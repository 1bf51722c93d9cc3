"""Every figure as a picture: text large enough, nothing covers anything, everything inside, a caption that counts."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

import inoc
from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.catalog import entries
from inoc.figures.gap_grid import plot_gap_grid
from inoc.figures.sources import Source

ENTRIES = {entry.name: entry for entry in entries()}
EMERGENCE = {entry.name for entry in entries() if entry.family == "emergence"}


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def world_source(world):
    return Source(inoc.open_store(world))


@pytest.fixture(scope="module")
def german_source(german_store):
    return Source(inoc.open_store(german_store))


def visible_texts(figure) -> list[Text]:
    """Texts that are drawn: not hidden, not empty, no tick label outside its axis' limits."""
    found = []
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            outside = [
                t
                for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]
                for t in (tick.label1, tick.label2)
                if not low - 1e-9 * abs(low) <= tick.get_loc() <= high + 1e-9 * abs(high)
            ]
            for t in outside:
                t.set_visible(False)
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text.get_window_extent().width > 0:
            found.append(text)
    return found


def check(figure) -> None:
    with plt.rc_context():
        figure.canvas.draw()
    texts = visible_texts(figure)
    assert texts
    small = [(t.get_text(), t.get_fontsize()) for t in texts if t.get_fontsize() < house.SMALLEST]
    assert not small
    assert house.COLUMN - 0.01 <= figure.get_figwidth() <= house.PAGE + 0.01
    boxes = np.array([t.get_window_extent().extents for t in texts])
    width, height = figure.canvas.get_width_height(physical=True)
    outside = (boxes[:, :2] < -1).any(1) | (boxes[:, 2] > width + 1) | (boxes[:, 3] > height + 1)
    assert not outside.any(), [texts[i].get_text() for i in np.flatnonzero(outside)]
    slack = 0.5  # half a pixel of rounding
    x0, y0, x1, y1 = (boxes[:, i] for i in range(4))
    across = (np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)) > slack
    along = (np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)) > slack
    pairs = np.argwhere(np.triu(across & along, 1))
    assert not len(pairs), [(texts[i].get_text(), texts[j].get_text()) for i, j in pairs]
    assert not [t.get_text() for t in texts if re.search(r"\bnan\b", t.get_text())]
    caption = house.caption(figure)
    assert re.search(r"\d", caption), "a caption says n"
    assert caption.endswith(".")


LACKING = dict.fromkeys(("rates", "rate_cross"), "no rate among its scores")
LACKING |= {"learning_rates": "runs have one learning rate", "spectrum_prompt_level": "neither self-perplexity nor"}


FAST = {"training_curves", "suppression", "scatter_cross", "loadings", "angle_map", "gap_grid", "recovered", "leaks"}
"""A figure of every family, by what draws it; `make test-slow` looks at all, which share these layouts."""


def some_slow(names, fast):
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in sorted(names)]


@pytest.mark.parametrize("name", some_slow(set(ENTRIES) - EMERGENCE, FAST | set(LACKING)))
def test_of_a_made_up_store(name, world_source):
    """48 prompts, tokens, runs: everything but rates and emergence can be drawn."""
    if name in LACKING:
        with pytest.raises(IncompleteStore, match=LACKING[name]):
            ENTRIES[name].draw(world_source)
        return
    check(ENTRIES[name].draw(world_source))


@pytest.mark.parametrize("name", some_slow(EMERGENCE, {"prefill_rates"}))
def test_of_prefill_counts(name, emerging):
    check(ENTRIES[name].draw(Source(inoc.open_store(emerging))))


NOT_IN_REFERENCE = {
    "training_curves_log",
    "rates",
    "rate_cross",
    "learning_rates",
    "spectrum_prompt_level",
    "leaks",
    "leaks_by_probe",
    "recovered",
    "position_means",
}
NOT_IN_REFERENCE |= {"durability", "tradeoff", "gap_grid", "performance_forest", *EMERGENCE}  # 6 trained prompts
NOT_IN_REFERENCE |= {name for name in ENTRIES if "token" in name}


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize("name", list(ENTRIES))
def test_of_the_reference_store(name, german_source):
    if name in NOT_IN_REFERENCE:
        with pytest.raises(IncompleteStore):
            ENTRIES[name].draw(german_source)
        return
    check(ENTRIES[name].draw(german_source))


def test_misalignment_bars(misaligned, two_files):
    check(inoc.plot_rates(inoc.open_store(misaligned)).figure)
    check(inoc.plot_rate_cross(inoc.open_store(two_files)).figure)
    with pytest.raises(IncompleteStore, match="from one file"):
        inoc.plot_rate_cross(inoc.open_store(misaligned))


@pytest.mark.slow  # draws every kind; one of each family is fast
def test_every_plot_draws_into_the_axes_it_is_given(small, misaligned, two_files, emerging, sweep):
    """One column by default; `ax` is used and returned, and nothing else is opened."""
    store, own = inoc.open_store(small), {"plot_rates": inoc.open_store(misaligned)}
    own["plot_learning_rates"] = inoc.open_store(sweep)
    own["plot_rate_cross"] = inoc.open_store(two_files)
    own |= dict.fromkeys(("plot_prefill_rates", "plot_prefill_bounds", "plot_emergence_auc"), inoc.open_store(emerging))
    few = {"plot_performance_forest": {"heuristics": inoc.heuristics.compute(store, only=["ph", "elicitation"])}}
    for name in inoc.figures.PLOTS:
        plot = getattr(inoc, name)
        figure, ax = plt.subplots()
        given = own.get(name, store)
        assert plot(given, ax=ax, **few.get(name, {})) is ax, name
        assert plt.get_fignums() == [figure.number], name
        assert ax.has_data(), name
        plt.close(figure)


def test_roles_and_prefix_types_never_differ_by_color_alone():
    roles = house.ROLES
    assert len({house.face(r) for r in roles}) == len({house.SIGNS[r] for r in roles}) == len(roles)
    assert len(set(house.MARKERS.values())) == len(house.MARKERS)
    assert house.HATCHES["fixed"] != house.HATCHES["mix"]
    assert set(house.COLORS.values()) <= {"#0072B2", "#D55E00", "#5A5A5A"}  # Okabe-Ito blue, vermillion; gray


def test_names_without_room_are_counted(world):
    """The runs do not fit beside a panel of this height; the caption says how many are missing."""
    ax = inoc.plot_training_curves(inoc.open_store(world))
    ax.figure.set_size_inches(3.4, 1.0)
    ax.figure.canvas.draw()
    shown = [t for t in ax.texts if t.get_visible()]
    hidden = len(ax.texts) - len(shown)
    assert hidden > 0
    assert f"{hidden} names found no room." in house.caption(ax.figure)


def test_a_scatter_of_too_few_points_claims_nothing(one_role):
    ax = inoc.plot_heuristic_scatter(inoc.open_store(one_role))
    check(ax.figure)
    said = "\n".join(t.get_text() for t in ax.texts)
    assert "no r (needs 8)" in said
    assert "RMSE" not in said
    assert "r =" not in said
    assert "Lines: least squares" not in house.caption(ax.figure)
    # a line has 200 points; guides and marks have fewer
    assert not [line for line in ax.lines if len(line.get_xdata()) == 200]


def test_gap_cells_are_in_full_color_only_where_the_interval_excludes_0(world_source, monkeypatch):
    s = world_source
    data = inoc.figures.gap_grid_data(s.store, heuristics=s.heuristics, table=s.rows)
    data["r"][0, :], data["constant"][0, :] = 0.9, False
    data["lower"][0, :], data["upper"][0, :] = [-1.0, 0.8, np.nan], [1.0, 0.95, np.nan]
    monkeypatch.setattr("inoc.figures.gap_grid.gap_grid_data", lambda *_, **__: data)
    ax = plot_gap_grid(s.store)
    check(ax.figure)
    wide, narrow, none = np.asarray(ax.images[0].get_alpha())[0]
    assert wide == none < narrow == 1
    said = {t.get_position(): (t.get_text(), t.get_color()) for t in ax.texts}
    assert said[0, 0] == ("+0.90\n[−1.00, +1.00]", "black")
    assert said[1, 0] == ("+0.90\n[+0.80, +0.95]", "white")
    assert said[2, 0] == ("+0.90\nno interval", "black")


def test_a_range_of_equal_numbers_is_one_number():
    assert house.span(np.array([12, 12])) == "12"
    assert house.span(np.array([8, 12, 9])) == "8 to 12"
    assert house.span(np.array([], dtype=int)) == "0"
