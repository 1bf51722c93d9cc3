"""The JSON schema accepts what `inoc check` accepts, and an editor finds with it what is wrong."""

import json
from copy import deepcopy
from pathlib import Path

import jsonschema
import pytest

from inoc.cli.new import SCHEMA
from inoc.cli.schema import text
from inoc.experiment.yaml_file import parse_yaml

from ..command_line import run_inoc

ROOT = Path(__file__).parents[2]
FILES = [*sorted(ROOT.glob("examples/*.yaml")), *sorted(ROOT.glob("inoc/**/*.yaml"))]
CHECKER = jsonschema.Draft202012Validator(json.loads(text()))


def read(path: Path) -> dict:
    return parse_yaml(path.read_text("utf-8")).data


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_files_follow_the_schema(path):
    assert [error.message for error in CHECKER.iter_errors(read(path))] == []


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("modell",), {}),
        (("model", "dtype"), "float8"),
        (("training", "rank"), "many"),
        (("scores", "French", "role"), "good"),
        (("completion_sets", "train", "limit"), 0),
        (("evaluation", "questions"), {"path": "a.jsonl", "m": 3}),
        (("prompts", "strong", "prompts"), ["Be funny."]),
    ],
)
def test_a_mistake_is_found(where, value):
    data = deepcopy(read(ROOT / "inoc" / "experiment" / "template.yaml"))
    inner = data
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    assert not CHECKER.is_valid(data)


def test_new_names_the_schema_and_writes_it_next_to_the_file(tmp_path):
    code, _, err = run_inoc("new", str(tmp_path / "study.yaml"))
    assert code == 0, err
    first = (tmp_path / "study.yaml").read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA}"
    assert (tmp_path / SCHEMA).read_text() == text() == run_inoc("schema")[1]
    (tmp_path / SCHEMA).write_text("mine")
    assert run_inoc("new", str(tmp_path / "other.yaml"))[0] == 0
    assert (tmp_path / SCHEMA).read_text() == "mine", "a file that is there is kept"
