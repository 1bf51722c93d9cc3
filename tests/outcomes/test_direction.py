"""The sign of every role and direction: suppression is less of a bad thing, loss less of a wanted one, everywhere."""

import json
from itertools import product

import numpy as np
import pytest
from click.testing import CliRunner

import inoc
from inoc.cli import cli
from inoc.figures.final_scores import final_scores_data
from inoc.heuristics import compute
from inoc.report.outcomes import outcomes as report_outcomes
from inoc.store import PromptInfo, ScoreInfo

from ..worlds import Completions, Run, write_store

CASES = list(product(("positive", "negative"), ("", "high", "low")))
NAMES = [f"{role} {better or 'unsaid'}" for role, better in CASES]
N = 20
LESS = 30.0
"""pp by which the run's stored scores are lower than the control's; with the prompt they are as much lower."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> inoc.Store:
    """Every stored score falls by LESS, in the run and with the prompt alone."""
    random = np.random.default_rng(3)
    control = 60 + random.uniform(-5, 5, (len(CASES), N))
    scores = [ScoreInfo(n, role, "f", better) for n, (role, better) in zip(NAMES, CASES, strict=True)]
    rate = ScoreInfo("low or high", "negative", "f", rate="'negative low' < 40 or 'positive high' < 40")
    prompts = [PromptInfo("p", "P.", "g", "f", "negative"), PromptInfo("sky", "S.", "g", "neutral", "neutral")]
    w = {("fixed", key): -random.exponential(1.0, 30) for key in ("p", "sky")}
    path = write_store(
        tmp_path_factory.mktemp("signs") / "signs.zarr",
        prompts,
        {"train": Completions(None, -random.exponential(1.0, 30), w)},
        level="example",
        traits=[*scores, rate, ScoreInfo("measured", "", "")],
        elicitation={
            "prompts": ["p"],
            "score": np.concatenate([control, control[:1]])[:, None] - LESS,
            "baseline": np.concatenate([control, control[:1]]),
        },
        runs=[
            Run("control", "", {(4, "default"): np.concatenate([control, control[:1]])}),
            Run("held", "p", {(4, "default"): np.concatenate([control, control[:1]]) - LESS}),
        ],
    )
    return inoc.open_store(path)


def expected(role: str, better: str) -> float:
    """The trait is there where the score is high, unless the better end contradicts the role."""
    inverted = (role == "negative" and better == "high") or (role == "positive" and better == "low")
    return -LESS if inverted else LESS


def test_every_sign(store: inoc.Store) -> None:
    held = inoc.outcomes.suppression(store)
    assert "measured" not in held["trait"].values
    for name, (role, better) in zip(NAMES, CASES, strict=True):
        cell = held.sel(run="held", trait=name)
        assert float(cell["mean"]) == pytest.approx(expected(role, better)), name
        assert str(cell["effect"].item()) == ("loss" if role == "positive" else "suppression")
        assert bool(cell["inverted"]) == (expected(role, better) < 0)
    assert float(held["mean"].sel(run="held", trait="low or high")) == -100.0  # 0 % of the control, all of the run


def test_rows_and_predictions_have_the_same_signs(store: inoc.Store) -> None:
    table = inoc.outcomes.rows(store, only=["elicitation"])
    for name, (role, better) in zip(NAMES, CASES, strict=True):
        row = table.isel(row=(table["trait"] == name).values)
        assert row["suppression"].values.tolist() == pytest.approx([expected(role, better)])
        assert row["effect"].values.tolist() == ["loss" if role == "positive" else "suppression"]
        elicited = float(row["heuristic_value"].sel(heuristic="elicitation").item())
        assert elicited == pytest.approx(-expected(role, better)), "elicitation is more of the trait"


def test_levels_are_as_stored(store: inoc.Store) -> None:
    table = inoc.outcomes.levels(store).sel(step=4, condition="default")
    change = table["mean"].sel(run="control") - table["mean"].sel(run="held")
    assert change.sel(score=[*NAMES, "measured"]).values == pytest.approx(LESS)
    data = final_scores_data(store)
    assert data["score"].sel(run="held").values[: len(NAMES)] == pytest.approx(
        table["mean"].sel(run="held", score=NAMES).values
    )
    assert data["suppression"].sel(run="held", trait="negative high").item() == pytest.approx(-LESS)


def test_report_command_and_figure_say_loss_and_suppression(store: inoc.Store) -> None:
    page = report_outcomes(store)
    assert page.effects[:6] == ["loss"] * 3 + ["suppression"] * 3
    (row,) = page.suppression
    signs = [np.sign(e.mean) for e in row.estimates if e is not None]
    assert signs[:6] == [np.sign(expected(*case)) for case in CASES]
    done = CliRunner().invoke(cli, ["outcomes", "--store", str(store.path), "--json"], catch_exceptions=False)
    found = {r["trait"]: (r["effect"], r["value"]) for r in json.loads(done.stdout)["suppression"]}
    for name, (role, better) in zip(NAMES, CASES, strict=True):
        effect, value = found[name]
        assert (effect, value) == (
            "loss" if role == "positive" else "suppression",
            pytest.approx(expected(role, better)),
        )
    labels = [inoc.plot_final_scores(store, name, "suppression").get_xlabel() for name in NAMES]
    assert labels[0] == "loss of positive unsaid (pp)"
    assert labels[3] == "negative unsaid suppression (pp)"
    assert compute(store, only=["elicitation"])["elicitation"].sel(trait="negative high").max() == pytest.approx(LESS)
