"""Stage `generate`: completion sets sampled from the base model by instruction, with a record of how they were made."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inoc.backends.protocols import Sampling
from inoc.errors import BadResult
from inoc.experiment import Generate, read_completions, read_instructions, subset
from inoc.stages.progress import Unwatched, Watcher
from inoc.stages.sampling import Question, kept_answers
from inoc.stages.study import Study
from inoc.stages.work import write_rows, write_whole


class Generated(NamedTuple):
    """One completion set: rows written, and rows left out because they were empty or a repetition."""

    name: str
    path: Path
    rows: int
    empty: int
    repeated: int


def generate(study: Study, sets: Sequence[str] = (), watcher: Watcher | None = None) -> tuple[Generated, ...]:
    """Make every completion set of the experiment that has `generate` and no file yet (or those named)."""
    watcher = watcher or Unwatched()
    todo = [
        (name, entry.generate)
        for name, entry in study.experiment.completion_sets.items()
        if entry.generate is not None
        and (not sets or name in sets)
        and not study.experiment.completion_path(name).exists()
    ]
    watcher.begin("generating", len(todo))
    made: list[Generated] = []
    for name, settings in todo:
        made.append(_generate(study, name, settings))
        watcher.step(name, f"{made[-1].rows} rows")
    return tuple(made)


def _generate(study: Study, name: str, settings: Generate) -> Generated:
    path = study.experiment.completion_path(name)
    instructions = subset(_instructions(study, settings), settings.n, settings.seed)
    prefix = settings.instruction_prefix or None
    questions = [Question(f"{name}/{i}", text, prefix) for i, text in enumerate(instructions)]
    stop = (study.chat.end_of_turn,)
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, settings.seed, stop)
    keep = study.work / "samples" / "generated" / f"{name}.jsonl"
    (answers,) = kept_answers(study.backend, study.chat, {keep: questions}, sampling)
    rows: list[dict[str, str]] = []
    seen: set[tuple[str, str]] = set()
    empty = repeated = 0
    for i, (instruction, answer) in enumerate(zip(instructions, answers, strict=True)):
        text = answer.text.strip()
        if not text:
            empty += 1
        elif (instruction, text) in seen:
            repeated += 1
        else:
            seen.add((instruction, text))
            rows.append(
                {"id": str(i), "instruction": instruction, "completion": text, "finish": answer.finish}
            )
    if not rows:
        raise BadResult(f"completion set {name}: all {empty} sampled answers are empty.")
    record = {
        "model": dict(study.backend.identity()),
        "system_prompt": study.experiment.model.system_prompt,
        "instruction_prefix": settings.instruction_prefix,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
        "rows": len(rows),
        "left_out": {"empty": empty, "repeated": repeated},
    }
    write_whole(path.with_suffix(".made.json"), json.dumps(record, indent=1, ensure_ascii=False))
    write_rows(path, rows)
    return Generated(name, path, len(rows), empty, repeated)


def _instructions(study: Study, settings: Generate) -> tuple[str, ...]:
    """Distinct instructions to answer: the file's, else those of the train set."""
    experiment = study.experiment
    if settings.instructions is not None:
        return tuple(dict.fromkeys(read_instructions(experiment.resolve(settings.instructions))))
    train = read_completions(
        experiment.completion_path("train"), system_prompt=experiment.model.system_prompt
    )
    return tuple(dict.fromkeys(example.instruction for example in train))
