"""Odd labels and numbers in a store: tables, CSV, figures and the report show them as they are."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from inoc.cli import cli
from inoc.heuristics.tokens.engines import choose
from inoc.heuristics.tokens.terms import PRODUCTS, standardized
from inoc.store import PromptInfo, ScoreInfo

from ..tally import count
from ..worlds import Completions, Run, write_store

KEYS = ("[/]", "[bold]b", "$a_$", r"\frac{", ":smile:", "\x1b[2J", "{x}", "%s", "<b>", "=1+1", "a\u202eb", "ｆ😀")
TRAITS = (ScoreInfo("[/] $x_$", "positive", "pos"), ScoreInfo("\x1b[31m", "negative", "neg"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    roles = (("pos", "positive"), ("neg", "negative"), ("neutral", "neutral"))
    prompts = [PromptInfo(key, f"text {i}", "g", *roles[i % 3]) for i, key in enumerate(KEYS)]
    size = np.array([3, 1, 5, 2] * 6)
    prefixed = {(kind, key): -rng.gamma(1.0, size=size.sum()) for kind in ("fixed", "mix") for key in KEYS}
    train = Completions(size, -rng.gamma(1.0, size=size.sum()), prefixed)

    def run(i: int, key: str) -> Run:
        scores = {(step, "default"): rng.uniform(0, 100, (2, 8)) for step in (0, 10)}
        return Run(f"run{i}", key, scores, losses=(np.arange(5), rng.random(5)))

    runs = [run(i, key) for i, key in enumerate(("", *KEYS))]
    elicitation = {
        "prompts": list(KEYS), "score": rng.uniform(0, 100, (2, len(KEYS), 6)), "baseline": rng.uniform(0, 100, (2, 6)),
    }  # fmt: skip
    path = tmp_path_factory.mktemp("odd") / "odd.zarr"
    return write_store(path, prompts, {"train": train}, traits=TRAITS, elicitation=elicitation, runs=runs)


FEW = ("--heuristics", "ph,elicitation")


@pytest.mark.parametrize("words", [("info",), ("heuristics",), ("outcomes", *FEW), ("predict", *FEW), ("validate",)])
def test_tables(odd: Path, words: tuple[str, ...]) -> None:
    command = words[0]
    done = CliRunner().invoke(cli, [*words, "--store", str(odd)])
    count("odd labels: tables", done.exit_code == 0)
    assert done.exit_code == 0, done.exception
    assert "\x1b" not in done.output
    if command == "heuristics":
        for key in ("[/]", "[bold]b", "$a_$", ":smile:", r"\x1b[2J"):
            assert key in done.output


@pytest.mark.parametrize("words", [("heuristics",), ("outcomes", *FEW)])
def test_csv(odd: Path, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*words, "--store", str(odd), "--csv"])
    assert done.exit_code == 0, done.exception
    assert "\x1b" not in done.stdout
    prompts = {row["prompt"] for row in csv.DictReader(io.StringIO(done.stdout))}
    assert {"[/]", "$a_$", r"\x1b[2J", "=1+1"} <= prompts


@pytest.mark.robust
def test_every_figure_and_the_report(odd: Path, tmp_path: Path) -> None:
    from inoc.figures.catalog import make
    from inoc.store import open_store

    for made in make(open_store(odd), tmp_path, formats=["png", "svg"]):
        count("odd labels: figures", not made.failed)
        assert not made.failed, f"{made.name}: {made.reason}"
    done = CliRunner().invoke(cli, ["report", "--store", str(odd), "-o", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.exception
    assert "\x1b" not in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("examples", [0, 1])
def test_hardly_any_examples(tmp_path: Path, examples: int) -> None:
    size = np.full(examples, 2)
    values = -np.ones(2 * examples)
    train = Completions(size, values, {(kind, key): values for kind in ("fixed", "mix") for key in ("a", "b")})
    prompts = [PromptInfo("a", "A", "g", "pos", "positive"), PromptInfo("b", "B", "g", "neg", "negative")]
    store = write_store(tmp_path / "s.zarr", prompts, {"train": train})
    for command in ("info", "heuristics", "validate"):
        done = CliRunner().invoke(cli, [command, "--store", str(store)])
        count("few examples", done.exit_code == 0)
        assert done.exit_code == 0, f"{command}: {done.exception!r}"


@pytest.mark.parametrize("scale", [1e-44, 1e-39, 1e-25, 1e-19, 1e-12, 1.0, 1e3, 1e6])
def test_engines_agree_at_every_size(scale: float) -> None:
    rng = np.random.default_rng(1)
    delta = (rng.normal(size=(2, 5, 64)) * scale).astype(np.float32)
    sums = [choose(name).block_sums(delta, None, (), PRODUCTS).products for name in ("numpy", "jax")]
    assert np.isfinite(sums[0]).all()
    np.testing.assert_allclose(sums[0][1], sums[1][1], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(sums[0][0], sums[1][0], rtol=1e-4, atol=1e-30)


def test_a_tiny_spread_is_none() -> None:
    column = np.array([[1.0], [1.0 + 1e-7], [1.0 - 1e-7]], np.float32)
    assert abs(standardized(column, None, np.sqrt)).max() > 1  # what float32 can tell apart counts
    assert abs(standardized(np.float32(1e-20) * column, None, np.sqrt)).max() < 1e-14
