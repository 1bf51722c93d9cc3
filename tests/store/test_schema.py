"""The declaration of the store: what is found in it by path, names that become directories, scores of older stores."""

import pytest

from inoc.errors import BadInput
from inoc.store.schema import GROUPS, ScoreInfo, VariableSpec, check_name, known_first, marked, named_scores, spec_of

OLD = [{"name": name, "role": "positive", "family": "f"} for name in ("Coherence", "German", "Alignment")]


def test_scores_of_older_stores_get_their_direction_and_a_rate() -> None:
    both = [ScoreInfo(name, "positive", "f", "high") for name in ("Coherence", "Alignment")]
    rate = ScoreInfo("Misaligned", "", "", "", "'Coherence' > 60 and 'Alignment' < 40")
    assert named_scores(OLD) == (both[0], ScoreInfo("German", "positive", "f"), both[1], rate)


@pytest.mark.parametrize(
    "rows",
    [
        OLD[:2],
        [{**OLD[0], "better": "low"}, *OLD[1:]],
        [{**OLD[0], "role": ""}, *OLD[1:]],
        [OLD[0], {**OLD[1], "role": ""}, OLD[2]],
    ],
    ids=["one of them", "with a direction", "without a role", "another without a role"],
)
def test_scores_of_newer_stores_are_as_they_are(rows: list[dict[str, str]]) -> None:
    assert named_scores(rows) == tuple(ScoreInfo(**row) for row in rows)


def test_long_names_say_what_the_numbers_are() -> None:
    tokens, examples = GROUPS["logprobs"], GROUPS["example_logprobs"]
    assert tokens["default"].attributes == {"units": "nat", "long_name": "log-probability without prefix"}
    assert tokens["prefixed"].long_name == "log-probability with the prefix"
    assert examples["prefixed"].long_name == "mean log-probability per completion token with the prefix"
    assert ("row_size" in tokens, "row_size" in examples) == (True, False)
    assert VariableSpec(("prompt",), "string").attributes == {}


def test_variables_by_path() -> None:
    assert spec_of("logprobs/train/default") is GROUPS["logprobs"]["default"]
    assert spec_of("prompts/text") is GROUPS["prompts"]["text"]
    assert spec_of("embeddings/anything") == VariableSpec(("prompt",), "float64")
    assert marked("logprobs/train") == {"default_crc": ("default",), "unit_crc": ("prefixed", "rephrasing")}
    assert marked("prompts") == {}


def test_known_names_come_first() -> None:
    assert known_first(["z", "b", "a", "y"], ["y", "x", "z"]) == ("y", "z", "a", "b")


@pytest.mark.parametrize(
    "name", ["", ".x", "_x", " x", "a/b", "a\\b", "a:b", "a\nb", "zarr.json", "x" * 201, "ä" * 101]
)
def test_names_that_are_no_directory(name: str) -> None:
    with pytest.raises(BadInput, match=r"set name .* cannot be stored"):
        check_name(name, "set")


@pytest.mark.parametrize("name", ["x" * 200, "a b_c-d.e", "Grüße"])
def test_names_that_are(name: str) -> None:
    assert check_name(name, "set") == name
