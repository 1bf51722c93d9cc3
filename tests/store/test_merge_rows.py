"""What several stores hold is compared bit for bit; who holds what is counted and named."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from inoc.errors import OtherSettings
from inoc.store import Store, open_store
from inoc.store.merge_rows import Found, Rows, same_unit
from inoc.store.runs import RunInfo

NAN = np.nan
ONE = np.array([1.0, NAN])


@pytest.fixture
def two(tiny_store: Path, tmp_path: Path) -> tuple[Store, Store]:
    return open_store(tiny_store), open_store(Path(shutil.copytree(tiny_store, tmp_path / "two.zarr")))


def rows(what: str = "score") -> Rows[object]:
    return Rows[object](what, lambda kind, path: f"{kind} of {path.name}")


EQUAL = [
    (ONE, ONE.copy()),
    (np.array(["a", "b"], object), np.array(["a", "b"], object)),
    ({"x": ONE, "y": 1}, {"y": 1, "x": ONE.copy()}),
    ((ONE, 2), (ONE.copy(), 2)),
    ("text", "text"),
]
DIFFERENT = [
    (ONE, ONE.astype(np.float32)),
    (ONE, ONE[None]),
    (np.array([0.0]), np.array([-0.0])),
    (np.array(["a"], object), np.array(["b"], object)),
    ({"x": 1, "y": 2}, {"x": 1, "z": 2}),
    ({"x": 1, "y": 2}, {"x": 1, "y": 3}),
    ({"x": 1}, {"x": 1, "y": 2}),
    ((1, 2), (1, 2, 3)),
    ((1, 2), (1, 3)),
    ("a", "b"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_values_are_counted_and_kept_once(two: tuple[Store, Store], one: object, other: object) -> None:
    table = rows()
    table.add(two[0], ("k",), one)
    table.add(two[1], ("k",), other)
    table.add(two[1], ("new",), other)
    assert (list(table.values), table.several) == ([("k",), ("new",)], 1)
    assert table.values["k",] is one
    assert (table.new(two[0].path), table.new(two[1].path)) == (1, 1)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_values_are_refused(two: tuple[Store, Store], one: object, other: object) -> None:
    table = rows()
    table.add(two[0], ("run", 4, ""), one)
    with pytest.raises(OtherSettings, match=r"score run/4/default: score of tiny.zarr.* and score of two.zarr"):
        table.add(two[1], ("run", 4, ""), other)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (np.zeros(3), np.ones(3), r"tiny.zarr \(3 values\) and k of two.zarr \(3 values\) hold different values\. Fix"),
        ((np.zeros(3), 1), (np.zeros(2), 1), r"tiny.zarr \(3 values\) and k of two.zarr \(2 values\) hold"),
        ((), (1,), r"tiny.zarr and k of two.zarr hold"),
        (RunInfo("r", "p", "fixed", 1), RunInfo("r", "p", "fixed", 2), r"hold different values \(seed: .*1.*2\)"),
    ],
)  # fmt: skip
def test_a_refusal_says_how_much_and_what_differs(
    two: tuple[Store, Store], one: object, other: object, said: str
) -> None:
    table = rows("k")
    table.add(two[0], ("x",), one)
    with pytest.raises(OtherSettings, match=said):
        table.add(two[1], ("x",), other)


PICKS, UNKNOWN = np.array([0, 1]), np.array([-1, -1])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (None, None, True),
        (PICKS, None, True),
        (None, PICKS, True),
        (PICKS, UNKNOWN, True),
        (UNKNOWN, PICKS, True),
        (PICKS, PICKS.copy(), True),
        (PICKS, PICKS[::-1].copy(), False),
    ],
)
def test_rephrasings_count_where_both_know_them(one: np.ndarray | None, other: np.ndarray | None, same: bool) -> None:
    assert same_unit(Found(Path("a"), ONE, one), Found(Path("b"), ONE.copy(), other)) is same
    assert not same_unit(Found(Path("a"), ONE, one), Found(Path("b"), np.array([2.0, NAN]), other))
