"""Files of others: what is not plain data of a sane size is one sentence."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.errors import BadInput
from inoc.reading import MAX_DEPTH, parse_json, printable, read_bytes, read_json, read_json_lines, read_text

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(values)
def test_json_is_read_as_the_standard_library_reads_it(value):
    text = json.dumps(value)
    if "\\ud" in text:  # half characters are refused; whole ones beyond the plane are not
        text = json.dumps(value, ensure_ascii=False)
    assert parse_json(text, "x") == json.loads(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' comes twice"),
        ('{"a": [{"b": 1, "b": 1}]}', "the key 'b' comes twice"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested deeper than 64"),
        ("[" * 100_000, "nested deeper than 64"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested deeper than 64"),
        ("9" * 5000, "thousands of digits"),
        ('"\\ud800"', "half a character"),
        ('{"\\udfff": 1}', "half a character"),
        ('{"a": ', "truncated"),
        ('{"a"; 1}', "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
    ],
)
def test_what_is_not_plain_json_is_one_sentence(text, expected):
    with pytest.raises(BadInput, match=expected) as caught:
        parse_json(text, "file.json, line 3")
    assert str(caught.value).startswith("file.json, line 3: ")
    assert "Fix: " in str(caught.value)


def test_the_deepest_that_is_read():
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_json(text, "x") == json.loads(text)
    assert parse_json('"\\ud83d\\ude00"', "x") == "😀"


def test_only_regular_files_of_a_sane_size(tmp_path: Path):
    pipe, big = tmp_path / "pipe", tmp_path / "big"
    os.mkfifo(pipe)
    big.write_bytes(b"12345")
    for path, expected in (
        (tmp_path, "is a directory"),
        (pipe, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / "absent", "does not exist. Fix: look."),
        (tmp_path / ("n" * 300), "cannot be read .File name too long"),
        (Path("a\0b"), "NUL"),
    ):
        with pytest.raises(BadInput, match=expected):
            read_bytes(path, "look.")
    assert read_bytes(big, limit=5) == b"12345"
    with pytest.raises(BadInput, match="has 5 bytes; at most 4"):
        read_bytes(big, limit=4)


def test_lines_are_numbered_and_the_mark_at_the_beginning_is_not_text(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('\ufeff{"a": 1}\n\n"two\\n\u2028"\n', encoding="utf-8")
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (3, "two\n\u2028")]
    path.write_text('{"a": 1}\n{"a":\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"rows\.jsonl, line 2: not JSON"):
        list(read_json_lines(path))
    path.write_text("\ufeff[1]", encoding="utf-8")
    assert read_json(path) == [1]
    assert read_text(path) == "[1]"


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_what_is_printed_obeys_no_terminal(text):
    shown = printable(text)
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    assert not any(c in shown for c in "\x1b\x7f\x9b\u202e\u2066")
    shown.encode()
    if text.isascii() and text.isprintable():
        assert shown == text
