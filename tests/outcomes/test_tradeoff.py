"""The trade-off of further training: curves chosen blind, means, areas; by hand and by a second way to compute them."""

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from inoc.errors import BadInput, IncompleteStore
from inoc.outcomes import tradeoff
from inoc.outcomes.durable import record_highs
from inoc.store import open_store

from ..command_line import run_inoc
from ..worlds import Run, write_store

SCORES = {"a": ("German", "Flattering"), "b": ("German", "Flattering")}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8))
def test_no_point_of_the_curve_is_beaten_and_every_other_is(points: list[tuple[int, int]]) -> None:
    updates, able = (np.array(side, dtype=np.float64) for side in zip(*points, strict=True))
    chosen = record_highs(updates, able)
    for i in range(len(points)):
        beaten = any(
            updates[j] <= updates[i] and able[j] >= able[i] and (points[j] != points[i] or j < i)
            for j in range(len(points))
            if j != i
        )
        assert chosen[i] == (not beaten)


# by way, prompt, seed: points (learning rate, updates) -> (capability, rate); (0, 0): the end of the first training
ORGANISMS = {
    ("full", "a", 0): {
        (0, 0): (10, 90), (1e-4, 5): (30, 80), (1e-4, 9): (20, 5), (1e-3, 5): (25, 0), (1e-3, 9): (50, 40),
    },
    ("lora", "a", 0): {
        (0, 0): (0, 80), (1e-4, 5): (20, 60), (1e-4, 9): (40, 20), (1e-3, 5): (10, 1), (1e-3, 9): (39, 2),
    },
    ("full", "b", 0): {(0, 0): (10, 100), (1e-3, 9): (50, 60)},
    ("lora", "b", 0): {(0, 0): (10, 50), (1e-3, 9): (50, 30)},
    ("lora", "b", 1): {(0, 0): (0, 70), (1e-3, 9): (5, 70)},
}  # fmt: skip


def made(path, organisms=ORGANISMS):
    """Runs of `organisms`, each continued at its learning rates; the scores of two questions differ."""
    runs = []
    for (method, prompt, seed), points in organisms.items():
        origin = f"{prompt}-{method}-s{seed}"
        plan = {"seed": seed, "settings": {"method": method.rstrip("2"), "rank": 8}}

        def scores(point: tuple[float, float]) -> dict[str, np.ndarray]:
            able, rate = point
            noise = np.array([-1.0, 1.0]) * min(able, 100 - able, rate, 100 - rate) / 2
            return {
                "default": np.array([50 + noise * 0, able + noise]),
                "training": np.array([rate - noise, 7 + noise * 0]),
            }

        runs.append(Run(origin, prompt, {(9, c): v for c, v in scores(points[0, 0]).items()}, plan))
        for rate in dict.fromkeys(rate for rate, _ in points if rate):
            more = {(u, c): v for (r, u), p in points.items() if r == rate for c, v in scores(p).items()}
            settings = {"method": method, "learning_rate": rate, "start": origin, "data": "other.jsonl"}
            runs.append(Run(f"{origin}-{rate}", "", more, {"seed": seed, "settings": settings}))
    return open_store(write_store(path, runs=runs))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return tradeoff(made(tmp_path_factory.mktemp("tradeoff") / "s.zarr"), SCORES)


def test_points_and_the_blind_choice(table: xr.Dataset) -> None:
    mine = table.isel(point=table["origin"].values == "a-full-s0")
    found = {
        (int(u), float(c)): (float(r), bool(k))
        for u, c, r, k in zip(mine["updates"], mine["capability"], mine["rate"], mine["chosen"], strict=True)
    }
    # 25 after 5 updates and 20 after 9 are beaten by 30 after 5, whatever became of the behavior
    assert found == {
        (0, 10): (90, True),
        (5, 30): (80, True),
        (9, 20): (5, False),
        (5, 25): (0, False),
        (9, 50): (40, True),
    }
    assert table["way_of"].values.tolist() == ["full", "lora rank 8"]
    assert set(table["data"].values.tolist()) == {"other"}
    assert table.attrs == {"left_out": [], "over": "prompts and seeds"}


def test_mean_curves_with_pointwise_intervals(table: xr.Dataset) -> None:
    levels = table["level"].values
    np.testing.assert_allclose(levels, np.linspace(0, 50, 21))
    at = int(np.flatnonzero(levels == 20)[0])
    full, lora = (table.isel(way_of=k, level=at) for k in (0, 1))
    # full: 85 and 90; lora: 60 and 45, and the third run never gets there
    for cell, values in ((full, [85.0, 90.0]), (lora, [60.0, 45.0])):
        assert float(cell["mean"]) == pytest.approx(np.mean(values))
        assert int(cell["mean_n"]) == 2
        low, high = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
        assert (float(cell["mean_lower"]), float(cell["mean_upper"])) == pytest.approx((low, high))
    assert np.isnan(table["mean"].values[0, 0])  # full starts at 10
    assert int(table["mean_n"].values[0, 0]) == 0


def test_areas_are_paired_by_prompt_and_seed(table: xr.Dataset) -> None:
    # a, from 10 to 40: full 90 -> 80 at 30 -> 60 at 40; lora 70 -> 60 at 20 -> 20 at 40
    where = np.linspace(10, 40, 30001)
    full, lora = np.interp(where, [10, 30, 50], [90, 80, 40]), np.interp(where, [0, 20, 40], [80, 60, 20])
    differences = [float((full - lora).mean()), float((np.linspace(100, 60, 9) - np.linspace(50, 30, 9)).mean())]
    assert table["first"].values.tolist() == ["full"]
    assert table["second"].values.tolist() == ["lora rank 8"]
    assert int(table["area_n"].item()) == 2, "b-lora-s1 has no partner"
    assert table["area"].item() == pytest.approx(np.mean(differences), abs=1e-3)
    low, high = stats.t.interval(0.95, 1, np.mean(differences), stats.sem(differences))
    assert (table["area_lower"].item(), table["area_upper"].item()) == pytest.approx((low, high), abs=0.01)


def test_from_three_prompts_on_seeds_are_averaged_first(tmp_path) -> None:
    """Two seeds of each of three prompts: the interval is that of three values."""
    rates = {"a": (90, 80), "b": (60, 40), "c": (20, 30)}
    line = {
        ("full", p, s): {(0, 0): (10, r), (1e-3, 9): (50, r)} for p, pair in rates.items() for s, r in enumerate(pair)
    }
    table = tradeoff(made(tmp_path / "s.zarr", line), dict.fromkeys("abc", ("German", "Flattering")))
    assert table.attrs["over"] == "prompts"
    cell = table.isel(way_of=0, level=5)
    assert int(cell["mean_n"]) == 6
    values = [85.0, 50.0, 25.0]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    found = tuple(float(cell[name]) for name in ("mean", "mean_lower", "mean_upper"))
    assert found == pytest.approx((np.mean(values), low, high))


def test_refusals_and_what_is_left_out(tmp_path) -> None:
    store = made(tmp_path / "s.zarr")
    with pytest.raises(BadInput, match="score"):
        tradeoff(store, {"a": ("German", "Flatering")})
    with pytest.raises(BadInput, match="condition"):
        tradeoff(store, SCORES, condition="defualt")
    points = ORGANISMS["full", "b", 0]
    twice = made(tmp_path / "twice.zarr", {("full", "b", 0): points, ("full2", "b", 0): {**points, (0, 0): (10, 0)}})
    found = tradeoff(twice, SCORES)
    assert set(found["origin"].values.tolist()) == {"b-full-s0"}, "two first trainings alike are never one curve"
    assert found.attrs["left_out"] == ["b-full2-s0-0.001: b-full2-s0 is like b-full-s0"]
    with pytest.raises(IncompleteStore, match="Fix: "):
        tradeoff(store, {"nobody": ("German", "Flattering")})


def test_the_door(tmp_path) -> None:
    store = made(tmp_path / "s.zarr")
    command = ["outcomes", "--store", str(store.path), "--tradeoff", "a=German:Flattering"]
    code, out, _ = run_inoc(*command, "--tradeoff", "b=German:Flattering", "--json")
    table, told = tradeoff(store, SCORES), json.loads(out)
    assert (code, told["over"]) == (0, "prompts and seeds")
    assert told["area"] == pytest.approx(table["area"].values.tolist())
    _, out, _ = run_inoc(*command)
    assert "lora rank 8" in out
    assert f"{tradeoff(store, {'a': SCORES['a']})['area'].item():.0f}" in out
    for wrong in ("a", "=German:Flattering", "a=German:"):
        code, out, err = run_inoc(*command[:-1], wrong)
        assert (code, out) == (2, "")
        assert "PROMPT=BEHAVIOR:CAPABILITY" in err
