"""Data behind figures against NumPy, SciPy and numbers by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import inoc
from inoc.figures import fits
from inoc.figures.durability import durability_data
from inoc.figures.labels import extremes, spread
from inoc.figures.leaks import leaks_data
from inoc.figures.loadings import concentration, loadings_data
from inoc.figures.losses import losses_data
from inoc.figures.position_means import position_means_data
from inoc.figures.rates import rates_data
from inoc.figures.recovered import recovered_data
from inoc.figures.token_differences import SIZES, token_differences_data
from inoc.figures.training_curves import training_curves_data
from inoc.store import PromptInfo

from ..worlds import Completions, write_store
from .worlds import EXAMPLES


@pytest.fixture(scope="module")
def store(world):
    return inoc.open_store(world)


def deltas(store, kind: int) -> np.ndarray:
    stored = store.token_logprobs()
    return np.asarray(stored.prefixed[kind], dtype=np.float64) - np.asarray(stored.default[:], dtype=np.float64)


def test_line_and_its_band():
    rng = np.random.default_rng(1)
    x = rng.normal(size=20)
    y = 2 + 3 * x + rng.normal(size=20)
    found = fits.line(x, y)
    assert found is not None
    reference = stats.linregress(x, y)
    assert (found.slope, found.intercept) == pytest.approx((reference.slope, reference.intercept))
    _, covariance = np.polyfit(x, y, 1, cov=True)  # scaled by the residual variance with n - 2
    at = np.array([-2.0, 0.0, 1.5])
    design = np.column_stack([at, np.ones(3)])
    error = np.sqrt(np.einsum("ij,jk,ik->i", design, covariance, design))
    np.testing.assert_allclose(found.half_band(at), stats.t.ppf(0.975, 18) * error)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((y - reference.slope * x - reference.intercept) ** 2)))
    assert fits.line(np.ones(5), np.arange(5.0)) is None
    assert fits.line(np.array([1.0, 2, np.nan]), np.array([1.0, 2, 3])) is None


@pytest.mark.parametrize("height", [60.0, -60.0])
def test_sigmoid_is_found_and_wins_by_aic(height):
    rng = np.random.default_rng(2)
    x = rng.uniform(-5, 25, 60)
    truth = 70 + height / (1 + np.exp(-1.1 * (x - 9)))
    y = truth + rng.normal(0, 1.0, 60)
    curve, line = fits.sigmoid(x, y), fits.line(x, y)
    assert curve is not None
    assert line is not None
    grid = np.linspace(-5, 25, 200)
    np.testing.assert_allclose(curve(grid), 70 + height / (1 + np.exp(-1.1 * (grid - 9))), atol=2.0)
    assert (np.sign(height) * np.diff(curve(grid)) >= -1e-12).all()
    assert curve.aic < line.aic
    straight = 2 * x + rng.normal(0, 3.0, 60)
    curve, line = fits.sigmoid(x, straight), fits.line(x, straight)
    assert curve is not None
    assert line is not None
    assert line.aic < curve.aic
    assert fits.sigmoid(x[:5], y[:5]) is None


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12), st.floats(1, 8))
def test_spread_keeps_labels_apart_and_inside(wanted, gap):
    places = spread(np.sort(np.array(wanted, dtype=np.float64)), gap, 0.0, 100.0)
    assert (np.diff(places) >= gap - 1e-6).all()
    assert places[0] >= gap / 2 - 1e-6
    assert places[-1] <= 100 - gap / 2 + 1e-6


def test_extremes_take_turns():
    x = np.array([0.0, 10, 9, 8, 0.5, np.nan])
    groups = ["a", "a", "a", "a", "b", "b"]
    assert extremes(x, np.zeros(6), 3)[0] == 1 or extremes(x, np.zeros(6), 3)[0] == 0
    assert 4 in extremes(x, np.zeros(6), 2, groups)
    assert 5 not in extremes(x, np.zeros(6), 6, groups)


def test_token_distribution(store):
    data = token_differences_data(store)
    for kind in (0, 1):
        delta = deltas(store, kind)
        for p in (0, 5, 40):
            values = delta[p][np.isfinite(delta[p])]
            cell = data.isel(prefix_type=kind, prompt=p)
            assert int(cell["n"]) == values.size
            assert int(cell["missing"]) == delta[p].size - values.size
            for i in (0, 30, 60, 90):
                assert float(cell["beyond"][i]) == pytest.approx(np.mean(np.abs(values) > SIZES[i]))
            widths = np.diff(0.1 * np.sinh(np.linspace(-1, 1, 44) * np.arcsinh(200.0)))
            assert float((cell["density"].values * widths).sum()) == pytest.approx(1.0)


def test_position_means(store):
    data = position_means_data(store)
    sizes = store.token_logprobs().row_size
    starts = np.cumsum(sizes) - sizes
    delta = deltas(store, 1)[7]
    for position in range(int(sizes.max())):
        values = delta[starts[sizes > position] + position]
        cell = data.isel(prefix_type=1, prompt=7, position=position)
        assert int(cell["n"]) == len(values)
        if len(values) >= 10:
            assert float(cell["mean"]) == pytest.approx(values.mean())
            assert float(cell["se"]) == pytest.approx(values.std(ddof=1) / np.sqrt(len(values)))
        else:
            assert np.isnan(float(cell["mean"]))


def test_recovered_agrees_with_the_heuristic(store):
    data = recovered_data(store)
    heuristic = inoc.heuristics.compute(store, only=["recovered"])["recovered"].transpose("prefix_type", "prompt")
    np.testing.assert_allclose(data["share"].values, heuristic.values, rtol=1e-6)
    k, n = int(data["recovered"][0, 3]), int(data["unlikely"][0, 3])
    wilson = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert (float(data["lower"][0, 3]), float(data["upper"][0, 3])) == pytest.approx((wilson.low, wilson.high))


@pytest.mark.parametrize("tokenwise", [False, True])
@pytest.mark.parametrize("kind", ["pca", "svd"])
def test_loadings_are_right_singular_vectors(store, kind, tokenwise):
    data = loadings_data(store, kind, tokenwise=tokenwise)
    matrix = inoc.difference(store, "fixed", level="token" if tokenwise else "example").values.astype(np.float64)
    matrix = np.nan_to_num(matrix)
    matrix = matrix - matrix.mean(0) if kind == "pca" else matrix
    vectors = np.linalg.svd(matrix, full_matrices=False)[2][:2]
    agreement = np.abs((data["loading"].values * vectors).sum(axis=1))
    np.testing.assert_allclose(agreement, 1.0, atol=1e-5)
    assert data.sizes["feature"] == (matrix.shape[1] if tokenwise else EXAMPLES)


def test_concentration():
    share, carried = concentration(np.array([0.0, 3.0, -4.0, 0.0]))
    np.testing.assert_allclose(carried, [16 / 25, 1, 1, 1])
    np.testing.assert_allclose(share, [0.25, 0.5, 0.75, 1])


def test_rates_by_hand(misaligned):
    """60 is not above 60, 40 is not below 40; answers without both scores do not count."""
    data = rates_data(inoc.open_store(misaligned)).sel(score="Misaligned", file="all")
    control = data.sel(run="control")
    assert (int(control["hits"]), int(control["n"])) == (3, 8)
    interval = stats.binomtest(3, 8).proportion_ci(method="wilson")
    assert (float(control["lower"]), float(control["upper"])) == pytest.approx((interval.low, interval.high))
    assert float(data["rate"].sel(run="be_evil")) == 0
    assert data["missing"].values.tolist() == [2, 1]


def test_the_cross_of_rates_is_the_rates_of_both_files(two_files):
    store = inoc.open_store(two_files)
    data = rates_data(store).sel(score="Misaligned")
    ax = inoc.plot_rate_cross(store)
    drawn = np.vstack([c.get_offsets() for c in ax.collections if hasattr(c, "get_sizes") and len(c.get_sizes())])
    wanted = [[100 * float(data["rate"].sel(run=run, file=f)) for f in ("in_domain", "general")] for run in data["run"]]
    np.testing.assert_allclose(sorted(map(tuple, drawn)), sorted(map(tuple, wanted)))


def test_leaks_and_curves_are_means_of_scores(store):
    """The store keeps the prompts tried on a run as a run beside it, as earlier versions did."""
    scores = store.scores["value"]
    grid, curves = leaks_data(store, "condition"), training_curves_data(store)
    name = "german_prompt_number_0"
    values = scores.sel(run=name, condition="flattering_prompt_number_0", score="German", step=60).values
    cell = grid.sel(run=name, condition="flattering_prompt_number_0", score="German")
    half = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    found = [float(cell[k]) for k in ("mean", "lower", "upper")]
    assert found == pytest.approx([values.mean(), values.mean() - half, values.mean() + half])
    plain = scores.sel(run=name, condition="default", score="German", step=60).values.mean()
    assert float(grid["mean"].sel(run=name, condition="default", score="German")) == pytest.approx(plain)
    at = curves["mean"].sel(run=name, condition="default", score="German", step=60)
    assert float(at) == pytest.approx(plain)
    assert not [r for r in scores["run"].values if str(r).endswith("+leak")]
    together = leaks_data(store)
    assert together["condition"].values.tolist() == ["default", "training", "other"]
    probes = [c for c in grid["condition"].values.tolist() if c not in ("default", "training")]
    both = scores.sel(run=name, condition=probes, score="German", step=60).mean("condition").values
    assert float(together["mean"].sel(run=name, condition="other", score="German")) == pytest.approx(both.mean())


def test_losses_minus_control(store):
    data = losses_data(store)
    loss = store.losses["loss"]
    name = "german_prompt_number_1_mix"
    expected = loss.sel(run=name).values - loss.sel(run="control").values
    np.testing.assert_allclose(data["minus_control"].sel(run=name).values, expected)


def test_continued_runs_are_in_the_durability_figure_only(store):
    table = durability_data(store)
    assert table.sizes["run"] == 25
    names = dict(zip(table["run"].values.tolist(), table["name"].values.tolist(), strict=True))
    assert names["control_more"] == "control"
    assert names["german_prompt_number_0_mix_more"] == "german_prompt_number_0 mix"
    row = table.sel(run="german_prompt_number_0_mix_more")
    assert (row["role"].item(), row["prefix_type"].item()) == ("positive", "mix")
    assert row["against"].item() == "control continued alike"
    for other in (training_curves_data(store), losses_data(store)):
        assert not [name for name in other["run"].values if str(name).endswith("_more")]
        assert other.attrs["continued"] in (25, 0)
    assert training_curves_data(store).attrs["continued"] == 25


def test_lasting_suppression_by_hand(store):
    """What is drawn against the stored scores: paired t on control continued alike minus run."""
    scores = store.scores
    table = durability_data(store).sel(trait="German", run="german_prompt_number_1_more")
    cell = scores["value"].sel(condition="default", score="German", step=40)
    pair = cell.sel(run="control_more").values - cell.sel(run="german_prompt_number_1_more").values
    test = stats.ttest_1samp(pair, 0.0).confidence_interval(0.95)
    found = [float(table.sel(step=40)[f"remaining{end}"]) for end in ("", "_lower", "_upper")]
    assert found == pytest.approx([pair.mean(), test.low, test.high])


@pytest.mark.parametrize("n", [6, 46])
def test_band_of_the_line_holds_the_mean_in_95_of_100(n):
    """1000 simulated scatters: the true mean at three places lies in the band."""
    rng = np.random.default_rng(7)
    at, hits = np.array([-1.0, 0.0, 2.0]), []
    for _ in range(1000):
        x = rng.normal(size=n)
        found = fits.line(x, 5 - 3 * x + rng.normal(0, 2, n))
        assert found is not None
        hits.append(np.abs(found(at) - (5 - 3 * at)) <= found.half_band(at))
    assert ((np.mean(hits, axis=0) >= 0.93) & (np.mean(hits, axis=0) <= 0.97)).all()


def test_values_on_a_threshold_are_not_beyond_it(tmp_path, monkeypatch):
    """p of exactly the limit is neither unlikely nor recovered; a difference of exactly 30 nats is not beyond 30; ten
    examples are enough."""
    monkeypatch.setattr("inoc.figures.recovered.THRESHOLD", float(np.exp(-1.0)))
    default = np.array([-1.0, -1.5, -1.5, *[-31.0] * 7, *[-40.0] * 9])
    prefixed = np.array([-0.5, -1.0, -0.9, *[-1.0] * 7, *[-1.0] * 9])
    row_size = np.array([*[2] * 9, 1])
    made = Completions(row_size, default, {("fixed", "a"): prefixed})
    store = inoc.open_store(
        write_store(tmp_path / "ties.zarr", [PromptInfo("a", "A.", "g", "g", "positive")], {"train": made})
    )
    data = recovered_data(store)
    assert (int(data["unlikely"].squeeze()), int(data["recovered"].squeeze())) == (18, 1)
    beyond = token_differences_data(store)["beyond"].squeeze()
    assert SIZES[-1] == 30.0
    assert float(beyond[-1]) == pytest.approx(9 / 19)
    means = position_means_data(store)["mean"].squeeze()
    assert np.isfinite(means.values).tolist() == [True, False]


def test_band_counts_prompts_not_rows():
    """30 prompts with three like rows each: the band of prompts holds the mean, that of rows does not."""
    rng = np.random.default_rng(3)
    at, prompts = np.array([-1.0, 0.0, 1.0]), np.repeat(np.arange(30), 3)
    hits: dict[str, list[np.ndarray]] = {"prompts": [], "rows": []}
    for _ in range(400):
        own = np.repeat(rng.normal(0, 2, 30), 3)
        x = np.repeat(rng.normal(size=30), 3)
        y = 5 - 3 * x + own + rng.normal(0, 0.3, 90)
        for name, labels in (("prompts", prompts), ("rows", None)):
            found = fits.line(x, y, labels)
            assert found is not None
            hits[name].append(np.abs(found(at) - (5 - 3 * at)) <= found.half_band(at))
    assert (np.mean(hits["prompts"], axis=0) >= 0.89).all()
    assert (np.mean(hits["rows"], axis=0) < 0.8).all()
    # every row a prompt of its own: the usual band
    x, y = rng.normal(size=(2, 20))
    one, other = fits.line(x, y), fits.line(x, y, np.arange(20))
    np.testing.assert_allclose(one.half_band(at), other.half_band(at))


def test_the_tradeoff_is_drawn_where_all_runs_are(store):
    """By default a prompt's own trait is the behavior and the other one the capability."""
    from inoc.outcomes import tradeoff

    prompts = [run.prompt for run in store.runs.values() if run.prompt and not run.start]
    pairs = {"german": ("German", "Flattering"), "flattering": ("Flattering", "German")}
    truth = tradeoff(store, {p: pairs[p.split("_")[0]] for p in prompts if p.split("_")[0] in pairs})
    data = inoc.figures.tradeoff_data(store)
    xr.testing.assert_identical(data, truth)
    german = {p: pair for p, pair in ((p, pairs.get(p.split("_")[0])) for p in prompts) if pair == pairs["german"]}
    truth = tradeoff(store, german)
    ax = inoc.plot_tradeoff(store, scores=german)
    n, runs = truth["mean_n"].values[0], len(set(zip(truth["prompt"].values, truth["seed"].values, strict=True)))
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), truth["mean"].values[0][n == runs])
    assert len(ax.lines) == 1 + runs
    assert f"n = {runs} runs" in inoc.figures.house.caption(ax.figure)
    plt.close("all")
