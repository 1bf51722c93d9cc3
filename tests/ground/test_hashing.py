"""Equal values have one text and one hash, everywhere; other values have others."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.hashing import SHORT, bytes_hash, canonical_json, content_hash, file_hash

PINNED = "57e4c79363e530e6"

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


@given(st.dictionaries(st.text(), scalars | st.lists(scalars)))
def test_the_order_of_keys_does_not_count(value):
    turned = dict(reversed(value.items()))
    assert canonical_json(turned) == canonical_json(value)
    assert content_hash(turned) == content_hash(value)


@given(values)
def test_the_text_is_the_value(value):
    assert json.loads(canonical_json(value)) == value


@given(values, values)
def test_other_values_have_another_hash(one, other):
    same = canonical_json(one) == canonical_json(other)
    assert (content_hash(one) == content_hash(other)) == same
    assert content_hash([one]) != content_hash(one)
    assert content_hash(one, other) == content_hash(one, other)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_refused(number):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": number})


def test_a_hash_is_the_same_in_every_process():
    """The literal is part of stored identities: a change would make every study start over."""
    value = {"b": [1, 2.5, None, True], "a": "é\ud800"}
    assert content_hash(value, "x") == PINNED
    code = f"from inoc.hashing import content_hash; print(content_hash({value!r}, 'x'))"
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert done.stdout.strip() == PINNED


@given(st.binary(max_size=200))
def test_bytes_and_files(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "hashed"
    path.write_bytes(data)
    assert file_hash(path) == bytes_hash(data) == hashlib.sha256(data).hexdigest()
    assert len(content_hash("a")) == SHORT
