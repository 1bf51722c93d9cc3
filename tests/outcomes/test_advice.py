"""What a card says, by cells written by hand."""

import numpy as np
import pytest

from inoc.outcomes.advice import Cell, _doubts, _marks

NAN = np.nan
CELL = Cell(
    "study", "a", "german", "fixed", "German", True, 0.5, 0.2, 0.8, 40.0, 16.0, 64.0, 80.0, "gate", "prompt", "", False,
    "",
)  # fmt: skip
OTHER = CELL._replace(trait="Flattering", on_target=False, predicted=10.4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "a (fixed): predicted 40 pp [16, 64]"),
        ({"lower": NAN}, "a (fixed): predicted 40 pp (no interval)"),
        ({"predicted": NAN, "share_lower": 0.2}, "a (fixed): predicted 50 % [20, 80] of what the control shows"),
        (
            {"remarks": ("strongest", "may do nothing")},
            "a (fixed): predicted 40 pp [16, 64]; strongest, may do nothing",
        ),
        (
            {"outside": "x 3 below 4"},
            "a (fixed): predicted 40 pp [16, 64]; just outside the range of what was trained (x 3 below 4)",
        ),
        ({"far": True, "outside": "x"}, "a (fixed): cannot say: outside the range of what was trained (x)"),
    ],
)
def test_a_card_in_words(changes: dict[str, object], said: str) -> None:
    assert str(CELL._replace(**changes)) == said


def test_what_is_known_of_a_cell() -> None:
    assert CELL.known
    assert not CELL._replace(share=NAN).known
    assert CELL.name == "a (fixed)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ["Flattering changes by -10 pp"]),
        ({"predicted": -3.0}, ["Flattering changes by +3 pp"]),
        ({"predicted": 0.2}, ["Flattering changes by 0 pp"]),
        ({"far": True}, []),
        ({"predicted": NAN}, []),
        ({"on_target": True}, []),
        ({"trait": "German"}, []),
    ],
)
def test_the_other_trait_is_told_where_there_is_a_number(changes: dict[str, object], said: list[str]) -> None:
    assert _doubts(CELL, [OTHER._replace(**changes)]) == said


@pytest.mark.parametrize(("lower", "upper", "nothing"), [(0.1, 0.5, False), (0.0, 0.5, True), (-0.5, 0.0, True),
                                                         (-0.5, -0.1, False), (-0.1, 0.1, True)])  # fmt: skip
def test_an_interval_with_zero_in_it_may_do_nothing(lower: float, upper: float, nothing: bool) -> None:
    assert ("may do nothing" in _doubts(CELL._replace(share_lower=lower, share_upper=upper), [])) is nothing


def inside(*predicted: float) -> list[Cell]:
    return [CELL._replace(prompt="abc"[i], predicted=value) for i, value in enumerate(predicted)]


TEXTS = {"a": "a long text", "b": "text", "c": "t"}


@pytest.mark.parametrize(
    ("predicted", "marks"),
    [
        ((40.0, 35.0, 34.9), {"a": ["strongest"], "b": ["cheapest to train"]}),
        ((40.0, 36.0, 35.0), {"a": ["strongest"], "c": ["cheapest to train"]}),
        ((40.0, 30.0, 20.0), {"a": ["strongest", "cheapest to train"]}),
        ((5.0, 4.0), {}),
        ((5.1, 4.0), {"a": ["strongest"], "b": ["cheapest to train"]}),
        ((40.0,), {}),
    ],
)
def test_the_strongest_and_the_cheapest_of_those_near_it(
    predicted: tuple[float, ...], marks: dict[str, list[str]]
) -> None:
    assert {cell.prompt: said for cell, said in _marks(inside(*predicted), TEXTS).items()} == marks


def test_without_points_shares_are_compared_and_without_texts_nothing_is_cheapest() -> None:
    cells = [CELL._replace(prompt=key, predicted=NAN, share=share) for key, share in (("a", 0.5), ("b", 0.46))]
    assert {c.prompt: said for c, said in _marks(cells, TEXTS).items()} == {
        "a": ["strongest"], "b": ["cheapest to train"],
    }  # fmt: skip
    assert list(_marks(cells, {}).values()) == [["strongest"]]
