"""The language of rates: against Python's own evaluation of random conditions, and everything that it refuses."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.errors import BadInput
from inoc.rates import DEEPEST, LONGEST, parse_rate

NAMES = ("A", "B", "risk_of")
OPERANDS = st.sampled_from([*NAMES, "0", "40", "60.5", ".5"])
SIGNS = st.sampled_from([">", ">=", "<", "<=", "==", "!="])
COMPARISONS = st.tuples(st.sampled_from(NAMES), SIGNS, OPERANDS) | st.tuples(OPERANDS, SIGNS, st.sampled_from(NAMES))
CONDITIONS = st.recursive(
    COMPARISONS.map(" ".join),
    lambda inner: st.one_of(
        inner.map(lambda c: f"({c})"),
        inner.map(lambda c: f"not ({c})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
    ),
    max_leaves=8,
)
SCORES = st.lists(st.floats(0, 100) | st.just(np.nan), min_size=5, max_size=5).map(np.array)


@given(CONDITIONS, st.tuples(SCORES, SCORES, SCORES))
def test_every_condition_means_what_it_means_in_python(text: str, columns: tuple) -> None:
    scores = dict(zip(NAMES, columns, strict=True))
    rate = parse_rate(text)
    assert set(rate.names) == {name for name in NAMES if name in text}
    found = rate.of({name: scores[name] for name in rate.names})
    for i, value in enumerate(found):
        here = {name: float(scores[name][i]) for name in rate.names}
        if any(np.isnan(list(here.values()))):
            assert np.isnan(value)
        else:
            assert value == (100.0 if eval(text, {"__builtins__": {}}, here) else 0.0)  # noqa: S307


def test_quoted_names_and_shapes() -> None:
    rate = parse_rate("""'Risky advice' > 60 and not "is it – kind?" >= 40""")
    assert rate.names == ("Risky advice", "is it – kind?")
    values = rate.of({"Risky advice": np.full((2, 3), 61.0), "is it – kind?": np.arange(6.0).reshape(2, 3) * 10})
    assert values.tolist() == [[100, 100, 100], [100, 0, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a number or the name"),
        ("A", "expected one of >="),
        ("A > ", r"at character 5 \(the end\): expected a number or the name"),
        ("A > 1 B < 2", "a comparison is complete here"),
        ("A > 1 and", "expected a number or the name"),
        ("(A > 1", r"expected '\)'"),
        ("A > 1)", "a comparison is complete here"),
        ("A = 1", r"at character 3 \(=\)"),
        ("1 < A < 2", "a comparison is complete here"),
        ("A > __import__('os')", "a comparison is complete here"),
        ("A.b > 1", "expected one of"),
        ("A > 1 # x", "a comparison is complete here"),
        ("A > -1", "expected a number or the name"),
        ("and > 1", "expected a number or the name"),
        ("'A > 1", "expected a number or the name"),
        ("1 < 2", "two numbers are compared"),
        ("A > 1 and " * 200 + "A > 1", f"use at most {LONGEST}"),
        ("(" * (DEEPEST + 2) + "A > 1" + ")" * (DEEPEST + 2), f"more than {DEEPEST} parentheses"),
        ("not " * (DEEPEST + 2) + "A > 1", f"more than {DEEPEST} parentheses"),
    ],
)
def test_anything_else_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        parse_rate(text)
    assert "Fix: " in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_rate_or_refused(text: str) -> None:
    with suppress(BadInput):
        parse_rate(text)
