"""The final-step rule, controls, judges: on made-up scores where the answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.errors import BadInput, IncompleteStore
from inoc.outcomes.effects import cross_of, gap_of, suppression_of
from inoc.outcomes.final import final_scores, nominal_step, with_setup
from inoc.store import RunInfo

from .worlds import dataset

RUNS = ("control", "a", "a_mix")
PROMPTS = ("", "a", "a")
KINDS = ("none", "fixed", "mix")


def infos(settings: dict[str, dict[str, object]]) -> dict[str, RunInfo]:
    return {name: RunInfo(name, "", "", settings=given) for name, given in settings.items()}


def scores(steps: tuple[int, ...] = (0, 312, 313), n: int = 20) -> np.ndarray:
    """Control 80, fixed 20, mix 50 at every step but 0, both traits, no spread."""
    values = np.empty((3, len(steps), 1, 2, n))
    values[:] = np.array([80.0, 20.0, 50.0])[:, None, None, None, None]
    values[:, 0] = 1.0
    return values


@pytest.mark.parametrize(
    ("steps", "expected"), [([0, 312, 313], 312), ([0, 10, 100], 100), ([5], 5), ([0, 990, 1000, 1010], 1000)]
)
def test_nominal_step_is_the_smallest_late_one(steps: list[int], expected: int) -> None:
    assert nominal_step(steps) == expected


@given(st.lists(st.integers(0, 5000), min_size=1, unique=True))
def test_nominal_step_is_stored_and_late(steps: list[int]) -> None:
    found = nominal_step(steps)
    assert found in steps
    assert 0.99 * max(steps) <= found <= max(steps)


def test_the_store_says_the_nominal_step() -> None:
    values = scores()
    values[:, 2] = 5.0
    final = final_scores(
        dataset(values, RUNS, PROMPTS, KINDS, steps=(0, 312, 313), nominal=[313] * 3), include_flagged=True
    )
    assert set(final.step) == {313}
    assert not any(final.flag)


def test_a_jump_of_exactly_8_pp_is_not_flagged_and_more_is() -> None:
    values = scores()
    values[1, 2, 0, 0] = 28.0
    values[2, 2, 0, 1] = 58.01
    final = final_scores(dataset(values, RUNS, PROMPTS, KINDS, steps=(0, 312, 313)))
    assert final.flag[:2] == ("", "")
    assert "Flattering 50.0 at step 312, 58.0 at step 313" in final.flag[2]
    assert len(final.left_out) == 1


def test_a_run_stopped_early_is_left_out_with_its_steps() -> None:
    values = scores()
    values[1, 1:] = np.nan
    table = suppression_of(final_scores(dataset(values, RUNS, PROMPTS, KINDS, steps=(0, 312, 313))))
    assert np.isnan(table["mean"].sel(run="a")).all()
    assert table["flags"].sel(run="a").item() == "not evaluated at step 312 (stored: 0)"
    assert table["mean"].sel(run="a_mix", trait="German").item() == 30.0


def test_published_takes_the_largest_stored_step_of_each_run() -> None:
    values = scores()
    values[1, 2] = np.nan
    final = final_scores(dataset(values, RUNS, PROMPTS, KINDS, steps=(0, 312, 313)), recipe="published")
    assert final.step.tolist() == [313, 312, 313]
    assert not any(final.flag)


def test_an_asked_step_that_no_run_has_names_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"step 7\. Fix: use one of the stored steps 0, 312, 313"):
        final_scores(dataset(scores(), RUNS, PROMPTS, KINDS, steps=(0, 312, 313)), step=7)


def test_no_control_is_an_incomplete_store() -> None:
    with pytest.raises(IncompleteStore, match="control run"):
        final_scores(dataset(scores()[1:], RUNS[1:], PROMPTS[1:], KINDS[1:], steps=(0, 312, 313)))


def test_each_seed_has_its_own_control_and_others_the_mean() -> None:
    values = np.array([80.0, 60.0, 20.0, 20.0, 20.0])[:, None, None, None, None] * np.ones((5, 1, 1, 2, 6))
    runs, prompts = ("c0", "c1", "a0", "a1", "a2"), ("", "", "a", "a", "a")
    kinds = ("none", "none", "fixed", "fixed", "fixed")
    table = suppression_of(final_scores(dataset(values, runs, prompts, kinds, seeds=[0, 1, 0, 1, 2])))
    assert table["mean"].sel(trait="German").values.tolist() == [60.0, 40.0, 50.0]


def test_judges_are_never_mixed() -> None:
    data = dataset(scores(), RUNS, PROMPTS, KINDS, steps=(0, 312, 313), judge={("a_mix", "Flattering"): "judge two"})
    with pytest.raises(BadInput, match=r"'Flattering'.*'judge one' \(run control.*'judge two' \(run a_mix"):
        suppression_of(final_scores(data))
    with pytest.raises(BadInput, match="judge two"):
        gap_of(final_scores(data))
    published = suppression_of(final_scores(data, recipe="published"), recipe="published")
    assert published["mean"].sel(run="a_mix", trait="Flattering").item() == 30.0


def test_missing_answers_leave_the_pair_out_and_are_counted() -> None:
    values = scores()
    values[0, 1:, :, :, 0] = np.nan
    values[1, 1:, :, :, 1:3] = np.nan
    final = final_scores(dataset(values, RUNS, PROMPTS, KINDS, steps=(0, 312, 313)))
    table, gap = suppression_of(final), gap_of(final)
    assert table["n"].sel(run="a", trait="German").item() == 17
    assert table["n"].sel(run="a_mix", trait="German").item() == 19
    assert table["control"].sel(run="a", trait="German").item() == 80.0
    assert gap["n"].sel(prompt="a", trait="German").item() == 18  # the control cancels, so its gap does not count
    assert gap["mean"].sel(prompt="a", trait="German").item() == 30.0


def test_a_prompt_with_one_prefix_type_is_named_in_the_gap() -> None:
    gap = gap_of(final_scores(dataset(scores()[:2], RUNS[:2], PROMPTS[:2], KINDS[:2], steps=(0, 312, 313))))
    assert gap.sizes == {"prompt": 0, "trait": 2}
    assert gap.attrs["left_out"] == ["a: only one of fixed and mix was trained"]


def test_cross_needs_two_traits() -> None:
    values = scores()[:, :, :, :1]
    table = cross_of(
        suppression_of(final_scores(dataset(values, RUNS, PROMPTS, KINDS, steps=(0, 312, 313), traits=("German",))))
    )
    assert np.isnan(table["mean"]).all()


def test_a_control_must_share_the_training_settings() -> None:
    values = np.array([80.0, 60.0, 20.0, 20.0, 20.0, 90.0])[:, None, None, None, None] * np.ones((6, 1, 1, 2, 6))
    runs = ("c", "c_slow", "a", "a_slow", "a_other", "later")
    data = dataset(values, runs, ("", "", "a", "a", "a", ""), ("none", "none", "fixed", "fixed", "fixed", "none"))
    rates = {"c": 1e-4, "c_slow": 1e-5, "a": 1e-4, "a_slow": 1e-5, "a_other": 5e-5, "later": 1e-4}
    settings = {run: {"learning_rate": rate, "checkpoints": [run]} for run, rate in rates.items()}
    settings["later"]["start"] = "a"
    final = final_scores(with_setup(data, infos(settings)))
    table = suppression_of(final)
    assert table["mean"].sel(run="a", trait="German").item() == 60.0  # not from the run that was continued
    assert table["mean"].sel(run="a_slow", trait="German").item() == 40.0
    assert np.isnan(table["mean"].sel(run="a_other")).all()
    assert final.left_out == (
        "a_other: no usable control with the same training settings",
        "later: continued from a: see durability",
    )


def test_close_rephrasings_have_the_control_of_the_others() -> None:
    values = np.array([80.0, 50.0, 30.0])[:, None, None, None, None] * np.ones((3, 1, 1, 2, 6))
    data = dataset(values, ("c", "a_mix", "a_close"), ("", "a", "a"), ("none", "mix", "mix"))
    settings = {run: {"learning_rate": 1e-4} for run in ("c", "a_mix", "a_close")}
    final = final_scores(
        with_setup(data, infos({**settings, "a_close": {"learning_rate": 1e-4, "rephrasings": "close"}}))
    )
    table = suppression_of(final)
    assert table["mean"].sel(trait="German").values.tolist() == [30.0, 50.0]
    assert final.setup[1] != final.setup[2]  # and are not a seed of the others


def test_a_flagged_control_leaves_everything_out_and_says_why() -> None:
    values = scores()
    values[0, 2] = 60.0
    final = final_scores(dataset(values, RUNS, PROMPTS, KINDS, steps=(0, 312, 313)))
    assert np.isnan(suppression_of(final)["mean"]).all()
    assert len(final.left_out) == 3
    assert "German 80.0 at step 312, 60.0 at step 313" in final.left_out[0]
    assert final.left_out[1] == "a: no usable control with the same training settings"
