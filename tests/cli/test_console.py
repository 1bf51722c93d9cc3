"""Tables of the terminal: they fit, say what they leave out, and cut no name."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inoc.cli.console import PlainConsole, show, stdout

COLUMNS = ("prompt", "a long heading of numbers", "n", "more\nunits")
ROWS = [["answer_in_german_please", "65.0 [61.8, 68.3]", "120", "1.25"], ["sky", "-0.2 [-4.0, 3.6]", "7", "NaN"]]


def printed(width: int, **options) -> str:
    text = io.StringIO()
    show(PlainConsole(width=width, file=text), "title", COLUMNS, ROWS, words=("prompt",), **options)
    return text.getvalue()


@settings(deadline=None, max_examples=30)
@given(st.integers(45, 140))
def test_a_table_fits_and_no_name_is_cut(width):
    text = printed(width, drop=("n", "more\nunits"))
    assert all(len(line) <= width for line in text.splitlines())
    assert "answer_in_german_please" in text
    assert "65.0 [61.8, 68.3]" in text


def test_what_is_left_out_is_named_in_order(capsys):
    assert "1.25" in printed(140, drop=("n", "more\nunits"))
    assert capsys.readouterr().err == ""
    text = printed(56, drop=("n", "more\nunits"))
    assert "120" not in text
    assert "1.25" in text
    assert capsys.readouterr().err == "Left out at 56 columns: n; --json has all.\n"
    printed(48, drop=("n", "more\nunits"), rest="--csv has all")
    assert capsys.readouterr().err == "Left out at 48 columns: n, more; --csv has all.\n"


@pytest.mark.parametrize(
    ("columns", "width"), [("80", 80), ("", 10_000), ("0", 10_000), ("x", 10_000), ("9" * 30, 10_000)]
)
def test_columns_are_obeyed_where_stdout_is_no_terminal(monkeypatch, columns, width):
    with monkeypatch.context() as set_here:  # pytest's own report obeys COLUMNS, too
        set_here.setenv("COLUMNS", columns)
        found = stdout().width
    assert found == width


def test_a_column_without_a_word():
    text = io.StringIO()
    show(PlainConsole(width=60, file=text), "title", ("prompt", "reason"), [("a", "")], words=("prompt", "reason"))
    assert "reason" in text.getvalue()


def test_a_reader_that_stops_ends_the_command_quietly():
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        PlainConsole(file=Closed()).print("text")
