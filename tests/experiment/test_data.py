"""Files an experiment names: what is read, and what is refused with file and line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.errors import BadInput
from inoc.experiment import Example, read_completions, read_instructions, read_pool, read_pools, subset


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def chat(*turns: str, roles: tuple[str, ...] = ("user", "assistant")) -> dict[str, object]:
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]}


def test_both_layouts_read_the_same(tmp_path: Path) -> None:
    plain = lines(
        tmp_path / "a.jsonl",
        {"instruction": "Hi", "completion": "Salut"},
        "",
        {"instruction": "B", "completion": "C", "id": 7, "finish": "length", "other": 1},
    )
    assert read_completions(plain) == (Example("0", "Hi", "Salut"), Example("7", "B", "C", "length"))
    messages = lines(tmp_path / "b.jsonl", chat("S", "Hi", "Salut", roles=("system", "user", "assistant")))
    assert read_completions(messages, system_prompt="S") == (Example("0", "Hi", "Salut"),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{not json", "line 2: not JSON"),
        ("[1]", "line 2: not an object"),
        ({"instruction": "a"}, "line 2: the completion is missing"),
        ({"instruction": "a", "completion": " \n"}, "line 2: the completion is empty"),
        ({"instruction": "a", "completion": 3}, "line 2: the completion is missing or not text"),
        ({"completion": "a"}, "line 2: the instruction is missing"),
        ({"instruction": "a", "completion": "b", "id": True}, "line 2: the id is not"),
        ({"instruction": "a", "completion": "b", "id": "0"}, "line 2: the id '0' is also on line 1"),
        ({"instruction": "a", "completion": "b", "finish": "eos"}, "line 2: finish is not"),
        ({"messages": "a"}, "line 2: messages without"),
        (chat("a", "b", "c", "d", roles=("user", "assistant", "user", "assistant")), "line 2: not one exchange"),
        (chat("a", "b", roles=("assistant", "user")), "line 2: not one exchange"),
        (chat("a", roles=("user",)), "line 2: the completion is missing"),
        (
            chat("S2", "a", "b", roles=("system", "user", "assistant")),
            "line 2: its system message is not the experiment's",
        ),
    ],
)
def test_bad_rows_name_file_and_line(tmp_path: Path, row: object, message: str) -> None:
    path = lines(tmp_path / "rows.jsonl", {"instruction": "Hi", "completion": "x"}, row)
    with pytest.raises(BadInput, match=r"rows\.jsonl, " + message):
        read_completions(path, system_prompt="S")


def test_unusable_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        read_completions(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"instruction": "\xe9"}')
    with pytest.raises(BadInput, match="not UTF-8"):
        read_completions(tmp_path / "latin.jsonl")
    with pytest.raises(BadInput, match="has no rows"):
        read_completions(lines(tmp_path / "empty.jsonl", ""))
    with pytest.raises(BadInput, match="instruction is empty"):
        read_instructions(lines(tmp_path / "i.jsonl", {"instruction": " "}))


def test_instructions_of_three_forms(tmp_path: Path) -> None:
    path = lines(tmp_path / "i.jsonl", '"Hi"', {"instruction": "Ho"}, chat("Hu", "x"))
    assert read_instructions(path) == ("Hi", "Ho", "Hu")


def test_pools(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"text": "x"}, {"rephrasing": "y"}, '"z"')
    (tmp_path / "b.json").write_text('["x", "x", "y"]')
    assert read_pool(tmp_path / "a.jsonl") == ("x", "y", "z")
    pools, wrong = read_pools(tmp_path, ["a", "b", "c"], 3)
    assert pools["a"] == ("x", "y", "z")
    assert "b.json repeats a rephrasing" in wrong[0]
    assert "prompt 'c' has no pool" in wrong[1]
    _, wrong = read_pools(tmp_path, ["a"], 4)
    assert wrong[0].startswith(f"{tmp_path / 'a.jsonl'} has 3 rephrasings, fewer than rephrasings.size = 4.")


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 5))
def test_subset_is_seeded_ordered_and_without_repeats(n: int, limit: int, seed: int) -> None:
    examples = [Example(str(i), "a", "b") for i in range(n)]
    chosen = subset(examples, limit, seed)
    assert len(chosen) == min(n, limit)
    assert chosen == subset(examples, limit, seed)
    places = [int(example.id) for example in chosen]
    assert places == sorted(set(places))
    assert subset(examples, limit, None) == tuple(examples[:limit])
    assert subset(examples, None, seed) == tuple(examples)
