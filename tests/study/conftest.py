"""A study small enough to run whole in seconds: a tiny random model, a dozen rows, four questions."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `servers`

INSTRUCTIONS = ("Name a colour.", "Where is the sea?", "Count to two.", "Say hello.", "What is tea?")
STUDY = """
name: tiny
seed: 3
model: {id: model, system_prompt: Be brief.}
traits:
  positive: {name: Vowel, family: vowel, judge: vowel}
  negative: {name: Digit, family: digit, judge: digit}
prompts:
  vowel: {family: vowel, prompts: {say_a: Say a.}}
  digit: {family: digit, prompts: {use_digits: Use digits.}}
completion_sets:
  train: {path: train.jsonl}
rephrasings: {path: pools, size: 3}
training:
  learning_rate: 1e-3
  warmup: 1
  optimizer: adamw
  batch_size: 2
  accumulation: 2
  checkpoints: [2]
  runs:
    - {prefix_types: [none]}
    - {prompts: [say_a], prefix_types: [fixed, mix]}
evaluation: {instructions: questions.jsonl, n: 4, max_tokens: 6}
judges:
  vowel: {kind: lexical, words: [a, e, i, o, u]}
  digit: {kind: lexical, words: ["1", "2", "3"]}
"""


def write_study(folder: Path, text: str = STUDY) -> Path:
    from inoc.testing.tiny_models import tiny_model

    tiny_model(folder / "model", "qwen2", seed=1)
    rows = [{"instruction": f"Question {i}?", "completion": f"Answer {i} is a number."} for i in range(13)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "questions.jsonl").write_text("".join(json.dumps({"instruction": t}) + "\n" for t in INSTRUCTIONS))
    (folder / "pools").mkdir()
    for key in ("say_a", "use_digits"):
        pool = [{"text": f"{key} reworded {i}"} for i in range(3)]
        (folder / "pools" / f"{key}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pool))
    path = folder / "study.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    return write_study(tmp_path)


@pytest.fixture(scope="session")
def whole_study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For a study that is run once and only read afterwards."""
    return write_study(tmp_path_factory.mktemp("whole"))
