"""While tests run, what inoc's annotations say is checked: arguments, results and fields, with shapes and without."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import jaxtyping
import numpy as np
import pytest
from beartype import beartype
from jaxtyping import Float

from inoc.errors import BadInput
from inoc.intervals import mean_level
from inoc.store.schema import Unit, check_name
from inoc.store.scored import Judgments

checked = jaxtyping.jaxtyped(typechecker=beartype)  # what the hook puts on everything


@checked
def plain(x: int, more: Sequence[str] = ()) -> str:
    return str(x) if x else x  # pyright: ignore[reportReturnType]


@checked
def shaped(x: Float[np.ndarray, " a"]) -> Float[np.ndarray, " a"]:
    return x[:2]


@checked
def nested(x: Sequence[tuple[str, Float[np.ndarray, "a a"]]]) -> None: ...


@checked
def forward(x: "int") -> None: ...


@checked
def counted() -> Iterator[int]:
    yield 1


@checked
@dataclass
class Fields:
    a: int
    b: "str" = ""


ones = np.ones


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (partial(plain, 1), partial(plain, "1")),
        (partial(plain, 1, ["a"]), partial(plain, 1, [1])),
        (partial(plain, 1), partial(plain, 0)),
        (partial(shaped, ones(2)), partial(shaped, ones((2, 2)))),
        (partial(shaped, ones(2)), partial(shaped, ones(3))),
        (partial(nested, [("x", ones((2, 2)))]), partial(nested, [("x", ones((2, 3)))])),
        (partial(forward, 1), partial(forward, "1")),
        (counted, partial(shaped, 1)),
        (partial(Fields, 1), partial(Fields, "1")),
        (partial(Fields, 1, "b"), partial(Fields, 1, 2)),
        (partial(check_name, "a", "run"), partial(check_name, 1, "run")),
        (partial(Unit.default, "train"), partial(Unit.default, 1)),
        (partial(mean_level, ones(3)), partial(mean_level, ones((3, 1)))),
        (
            partial(Judgments, (1,), ("a",), ones((1, 1), bool), ones((1, 1, 2)), ones((1, 1, 2))),
            partial(Judgments, (1,), ("a",), ones((1, 1), bool), ones((1, 1, 2)), ones((1, 1, 3))),
        ),
    ],
)
def test_what_an_annotation_does_not_allow_is_refused(right: Callable[[], object], wrong: Callable[[], object]) -> None:
    right()
    with pytest.raises(Exception, match=r"(?i)violates type hint|type-check error") as refused:
        wrong()
    assert not isinstance(refused.value, BadInput)
