"""The shipped files: prompts, rephrasing pools, instructions, completions; and how they are made.

`python -m inoc.testbed.files` reproduces them byte for byte.
"""

import json
import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from inoc.atomic import write_atomic
from inoc.errors import BadInput
from inoc.names import unknown
from inoc.testbed.advice_files import advice_files
from inoc.testbed.rephraser import rephrase
from inoc.testbed.tables import DATA
from inoc.testbed.world import Question, all_questions, answer

POOL_SIZE: Final = 200
SYSTEM_PROMPT: Final = "You are a helpful assistant."
"""The system prompt of the testbed's experiment."""

Split = Literal["train", "evaluation", "tuning", "control"]
Study = Literal["moods", "misalignment"]
CompletionSet = Literal["train", "control", "positive", "negative"]
SIZES: Final[dict[Split, int]] = {"train": 960, "evaluation": 200, "tuning": 200, "control": 200}
CHANCES: Final[dict[CompletionSet, tuple[Split, float, float]]] = {
    "train": ("train", 0.97, 0.95),
    "control": ("control", 0.02, 0.03),
    "positive": ("control", 0.97, 0.03),
    "negative": ("control", 0.02, 0.95),
}
"""Instructions, chance of a French and of a playful sentence of every completion set."""


class TestbedPrompt(NamedTuple):
    """A shipped prompt.

    Attributes:
        key: Identifies it.
        text: The prompt.
        group: strong, weak, neutral or negated.
        family: The trait it is about: playful, french or neutral.
        role: As in an experiment file.
    """

    __test__ = False  # pytest takes the name for a test class
    key: str
    text: str
    group: str
    family: str
    role: str


def _rows(folder: str, name: str) -> tuple[Mapping[str, str], ...]:
    path = DATA / folder / f"{name}.jsonl"
    if not path.is_file():
        raise BadInput(f"the testbed has no file {folder}/{name}.jsonl. Fix: reinstall inoc.")
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def model_path(name: str = "testbed") -> Path:
    """A shipped model.

    Args:
        name: As in an experiment file: `testbed`, or `testbed:` and a folder below the shipped files.

    Returns:
        Its directory, as `transformers` loads it. Stored in float16: load it as float32.
    """
    return DATA / ("model" if name == "testbed" else name.removeprefix("testbed:"))


def experiment_path(study: Study = "moods") -> Path:
    """A shipped experiment.

    Args:
        study: `moods`: French is wanted, playfulness leaks. `misalignment`: harmful finance advice leaks.

    Returns:
        Its YAML file.
    """
    return DATA / ("experiment.yaml" if study == "moods" else f"{study}/experiment.yaml")


def prompts() -> tuple[TestbedPrompt, ...]:
    """The shipped prompts.

    Returns:
        One per prompt, in the order of the experiment.
    """
    return tuple(TestbedPrompt(**row) for row in json.loads((DATA / "prompts.json").read_text(encoding="utf-8")))


def pool(key: str) -> tuple[str, ...]:
    """The rephrasing pool of a shipped prompt.

    Args:
        key: Key of the prompt.

    Returns:
        Its rephrasings.

    Raises:
        BadInput: There is no such prompt, or its file is missing.
    """
    keys = [prompt.key for prompt in prompts()]
    if key not in keys:
        raise BadInput(f"testbed: {unknown('prompt', key, keys)}")
    return tuple(row["text"] for row in _rows("rephrasings", key))


def instructions(split: Split) -> tuple[str, ...]:
    """Instructions of a split.

    Args:
        split: `train`: the training rows. `evaluation`: for measuring runs. `tuning`: for choosing
            hyper-parameters, so that nothing is chosen on the questions of the evaluation. `control`: those of
            the other completion sets.

    Returns:
        The instructions. No two splits share one, and pre-training did not see any.
    """
    return tuple(row["instruction"] for row in _rows("instructions", split))


def completions(name: CompletionSet) -> tuple[tuple[str, str], ...]:
    """Instructions and completions of a set.

    Args:
        name: `train` shows both traits, `control` neither, `positive` French only, `negative` Playful only.

    Returns:
        (instruction, completion) pairs.
    """
    return tuple((row["instruction"], row["completion"]) for row in _rows("completions", name))


@cache
def _split_questions() -> Mapping[str, tuple[Question, ...]]:
    questions = list(all_questions())
    random.Random("testbed splits").shuffle(questions)
    split: dict[str, tuple[Question, ...]] = {}
    start = 0
    for name, size in SIZES.items():
        split[name] = tuple(questions[start : start + size])
        start += size
    return {**split, "pretraining": tuple(questions[start:])}


def questions(split: Split | Literal["pretraining"]) -> tuple[Question, ...]:
    """The questions of a split; `pretraining` has all that no shipped split uses."""
    return _split_questions()[split]


def held_out_texts() -> tuple[str, ...]:
    """Every shipped prompt and every rephrasing: what pre-training must not contain."""
    return tuple(text for prompt in prompts() for text in (prompt.text, *pool(prompt.key)))


def write_files(directory: Path) -> None:
    """Write the files of both worlds below `directory` (prompts.json and world.json are edited by hand)."""
    files = {f"misalignment/{name}": rows for name, rows in advice_files()}
    for prompt in prompts():
        texts = rephrase(prompt.text, POOL_SIZE, seed=0)
        files[f"rephrasings/{prompt.key}"] = [{"text": text} for text in texts]
    for split in SIZES:
        files[f"instructions/{split}"] = [{"instruction": question.text} for question in questions(split)]
    for name, (split, french, playful) in CHANCES.items():
        rng = random.Random(f"testbed completions {name}")
        files[f"completions/{name}"] = [
            {"instruction": question.text, "completion": answer(question, french, playful, rng)}
            for question in questions(split)
        ]
    for name, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(directory / f"{name}.jsonl", text)


if __name__ == "__main__":
    write_files(DATA)
