"""Lists of numbers are read as arrays: the same values as Python's own JSON reader gives, and the same errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.errors import BadInput
from inoc.store.imports.reading import load_json, load_number_json

NUMBERS = st.none() | st.integers(-(1 << 53), 1 << 53) | st.floats(allow_nan=False)
WHOLE = st.none() | st.integers(-(1 << 63), 1 << 63)
FLOATS = st.none() | st.floats(-1e308, 1e308)
LISTS = st.lists(NUMBERS, max_size=6) | st.lists(WHOLE, max_size=6) | st.lists(FLOATS, max_size=6)
TEXTS = st.text(max_size=8) | st.sampled_from(['a [1, 2.5] "b', "\\", '"', "[0]", "\\u005b1]"])
VALUES = st.recursive(
    NUMBERS | TEXTS | st.booleans() | LISTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(value=st.dictionaries(TEXTS, VALUES, max_size=4), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_nothing_is_read_otherwise(tmp_path_factory, value: dict[str, object], indent, ascii_only: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    read = load_number_json(path).plain()
    assert read == json.loads(path.read_text(encoding="utf-8"))


@given(numbers=st.lists(st.floats(max_value=0, min_value=-1e6), min_size=1))
def test_every_digit_counts(tmp_path_factory, numbers: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.json"
    path.write_text(json.dumps({"a": numbers, "b": [numbers, [], numbers]}))
    node = load_number_json(path)
    assert isinstance(node["a"].value, np.ndarray)
    np.testing.assert_array_equal(node["a"].logprobs(), np.array(numbers))
    values, sizes = node["b"].logprob_lists()
    np.testing.assert_array_equal(values, np.array(numbers + numbers))
    assert sizes == [len(numbers), 0, len(numbers)]


BAD = {
    "two values": '{"a": [1 2]}',
    "a word": '{"a": [1.0, nul]}',
    "a comma too many": '{"a": [1.0, 2.0,]}',
    "cut off": '{"a": [1.0, 2.0',
    "cut off in a text": '{"a": "[1.0, 2.0]',
    "a key twice": '{"a": [1.0], "a": [2.0]}',
    "too deep": '{"a": ' + 70 * "[" + "1.5" + 70 * "]" + "}",
    "half a character": '{"a": [1.5], "b": "\\ud800"}',
    "no object": "[1.0, 2.0]",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_errors_are_those_of_other_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(BadInput) as expected:
        load_json(path)
    with pytest.raises(BadInput) as found:
        load_number_json(path)
    assert str(found.value) == str(expected.value)


def test_numbers_no_list_of_doubles_holds(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    path.write_text('{"a": [-1e400], "b": [-' + 400 * "9" + '], "c": [NaN, -1.5, null]}')
    node = load_number_json(path)
    with pytest.raises(BadInput, match="infinite"):
        node["a"].logprobs()
    with pytest.raises(BadInput, match="beyond 1e308"):
        node["b"].logprobs()
    np.testing.assert_array_equal(node["c"].logprobs(), [np.nan, -1.5, np.nan])
