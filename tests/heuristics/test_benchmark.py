"""The whole command path against the plain peer on a small generated store, and what the path may cost."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks import heuristics as benchmark
from benchmarks import peer
from benchmarks.store import sizes, write
from inoc.heuristics import compute, heuristics
from inoc.heuristics.frame.registry import as_terms
from inoc.heuristics.tokens.one_pass import token_statistics
from inoc.store.store import open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("benchmark") / "run.zarr"
    write(place, n_prompts=6, n_tokens=9000)
    return place


@pytest.fixture(scope="module")
def table(store: Path) -> xr.Dataset:
    return compute(open_store(store))


@pytest.fixture(scope="module")
def numbers(store: Path) -> dict[str, dict[str, np.ndarray]]:
    return peer.numbers(*peer.read(store))


def test_sizes_add_up() -> None:
    for n in (1, 66, 9000, 352_000):
        row_size = sizes(n)
        assert row_size.sum() == n
        assert (row_size > 0).all()
        assert (row_size <= 900).all()
    assert 330 < sizes(352_000).mean() < 370


@pytest.mark.parametrize("prefix_type", ["fixed", "mix"])
def test_values_per_prompt(table: xr.Dataset, numbers: dict, prefix_type: str) -> None:
    expected = numbers[str(("fixed", "mix").index(prefix_type))]
    ours = table.sel(prefix_type=prefix_type)
    compared = [name for name in expected if name in table and ours[name].dims == ("prompt",)]
    assert len(compared) == 19
    for name in compared:
        np.testing.assert_allclose(ours[name], expected[name], rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(("level", "ours"), [("pointwise", ""), ("tokenwise", "token_")])
@pytest.mark.parametrize("prefix_type", ["fixed", "mix"])
def test_spectra_and_angles(table: xr.Dataset, numbers: dict, prefix_type: str, level: str, ours: str) -> None:
    expected = numbers[str(("fixed", "mix").index(prefix_type))]
    mine = table.sel(prefix_type=prefix_type)
    for name in ("pca", "svd"):
        got, want = mine[f"{ours}{name}"].values, expected[f"{level}_{name}"]
        scale = np.abs(want).max()
        np.testing.assert_allclose(np.abs(got), np.abs(want), atol=2e-4 * scale, err_msg=name)
    share = mine[f"{ours}pca_explained"].values
    np.testing.assert_allclose(share, expected[f"{level}_pca_share"], atol=1e-5)
    scaled = mine[f"{ours}pca_scaled_explained"].values
    np.testing.assert_allclose(scaled, expected[f"{level}_scaled_pca_share"], atol=1e-4)
    for representation, name in (("raw", "raw"), ("svd2", "svd"), ("pca2", "pca")):
        got = mine[f"{ours}angle"].sel(representation=representation).values
        off = ~np.eye(6, dtype=bool)  # arccos in float32 is coarse near 0
        np.testing.assert_allclose(got[off], expected[f"angle_{level}_{name}"][off], atol=0.1)


def test_gap(table: xr.Dataset, numbers: dict) -> None:
    for name, want in numbers["gap"].items():
        found = table[name].sel(variant="raw") if "variant" in table[name].dims else table[name]
        np.testing.assert_allclose(found, want, rtol=1e-4, err_msg=name)


def test_the_command_imports_nothing_heavy(store: Path) -> None:
    loaded = set(benchmark.imported_by_the_command(store).split(","))
    assert "numpy" in loaded
    heavy = {"jax", "sklearn", "xarray", "pandas", "matplotlib", "dask", "torch", "scipy.stats", "pydantic"}
    assert not loaded & heavy


def arithmetic(delta: np.ndarray) -> None:
    """What the pass cannot do without, in plain NumPy: an exponential, a sort and two products of rows."""
    for rows in delta:
        np.exp(-np.abs(rows)).sum(axis=1)
        np.sort(rows, axis=1)
        wide = rows.astype(np.float64)
        for _ in range(2):
            wide @ wide.T


def test_the_pass_stays_within_its_arithmetic() -> None:
    """Processor time by turns, so that other load counts for both sides. About 1.4 when it was written."""
    n_prompts, row_size = 24, sizes(30_000)
    rng = np.random.default_rng(0)
    default = -rng.exponential(1, 30_000).astype(np.float32)
    delta = rng.standard_normal((2, n_prompts, 30_000)).astype(np.float32)
    prefixed = default + delta
    known = heuristics().items()
    asked = {
        "terms": as_terms({name: one.token_term for name, one in known if one.token_term}),
        "row_terms": as_terms({name: one.row_term for name, one in known if name == "top_quarter" and one.row_term}),
        "prefix_types": ("fixed", "mix"),
        "prompts": [str(p) for p in range(n_prompts)],
        "engine": "numpy",
    }

    def seconds(work: Callable[[], object]) -> float:
        begin = time.process_time()
        work()
        return time.process_time() - begin

    ratios: list[float] = []
    for _ in range(7):
        least = seconds(lambda: arithmetic(delta))
        ratios.append(seconds(lambda: token_statistics(default, prefixed, row_size, **asked)) / least)
    assert np.median(ratios[1:]) < 2.6


@pytest.mark.slow
def test_quick_benchmark_prints_its_tables() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.heuristics", "--quick"], capture_output=True, text=True, check=True
    )
    assert "| peer / inoc, in process |" in done.stdout
    assert "others used" in done.stdout


@pytest.mark.slow
def test_memory_does_not_grow_with_tokens() -> None:
    """At 400 prompts the logprobs of the longer run are 2.3 GB; only example means and one row may grow."""

    def peak(n_tokens: int) -> float:
        return benchmark.spawn(
            "-m", "benchmarks.heuristics", "--one", "--prompts", "400", "--tokens", str(n_tokens)
        ).rss

    short, long = peak(180_000), peak(720_000)
    assert long < 1.25 * short
    assert long < 1400
