"""Stage `elicit`: how far each prompt alone brings out the traits in the base model, on the same instructions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from inoc.stages.judging import Scores
from inoc.stages.progress import Unwatched, Watcher
from inoc.stages.sampling import Answer, Question, kept_answers
from inoc.stages.study import Study
from inoc.store.writer import StoreWriter


@dataclass(frozen=True)
class ElicitationReport:
    """Prompts judged by this call, and those that were there."""

    judged: int
    already: int


def elicit(study: Study, prompts: Sequence[str] = (), watcher: Watcher | None = None) -> ElicitationReport:
    """Ask the base model every instruction without prompt, then with each; judge the answers and store them.

    `prompts`: keys or groups; empty for all. Prompts already stored are left alone.

    Raises BadResult when 10 % or more of a prompt's answers could not be judged; the prompt stays to be done.
    """
    watcher = watcher or Unwatched()
    keys = study.experiment.select(tuple(prompts) or "all")
    with study.open_writer() as writer:
        for note in writer.notes:
            watcher.note(note)
        stored = writer.run.elicitation
        done = {str(key) for key in stored["prompt"].values} if stored is not None else set[str]()
        waiting = [key for key in keys if key not in done]
        has_baseline = stored is not None and bool(np.isfinite(stored["baseline"].values).any())
        watcher.begin("eliciting", len(waiting) + (not has_baseline))
        if study.backend.capabilities.jobs:
            _answers(study, [*([] if has_baseline else [""]), *waiting])
        if not has_baseline:
            baseline = _judge(study, "")
            empty = np.empty((len(baseline.score), 0, baseline.score.shape[1]))
            _store(study, writer, [], empty, empty, baseline.score)
            watcher.step("no prompt", _means(study, baseline))
        for key in waiting:
            scores = _judge(study, key)
            _store(study, writer, [key], scores.score[:, None, :], scores.coverage[:, None, :], None)
            watcher.step(key, _means(study, scores))
    return ElicitationReport(len(waiting), len(keys) - len(waiting))


def _judge(study: Study, key: str) -> Scores:
    """Judge the answers under one prompt, "" for none."""
    (answers,) = _answers(study, [key])
    cell = f"elicitation, {f'prompt {key}' if key else 'no prompt'}"
    return study.judges.score(cell, study.instructions, [answer.text for answer in answers])


def _answers(study: Study, keys: Sequence[str]) -> tuple[tuple[Answer, ...], ...]:
    """The answers under these prompts, kept until they are judged. Every prompt meets the same random streams."""
    evaluation = study.experiment.evaluation
    assert evaluation is not None  # else `instructions` has raised
    folder = study.work / "samples" / "elicitation"
    prefixes = {key: study.experiment.prompt(key).text if key else None for key in keys}
    groups = {
        folder / f"{key or '(none)'}.jsonl": [
            Question(f"{i}", text, prefix) for i, text in enumerate(study.instructions)
        ]
        for key, prefix in prefixes.items()
    }
    return kept_answers(study.backend, study.chat, groups, evaluation.sampling((study.chat.end_of_turn,)))


def _store(
    study: Study,
    writer: StoreWriter,
    keys: Sequence[str],
    score: Float64[np.ndarray, "trait prompt instruction"],
    coverage: Float64[np.ndarray, "trait prompt instruction"],
    baseline: Float64[np.ndarray, "trait instruction"] | None,
) -> None:
    identities = study.judges.identities()
    writer.put_elicitation(
        prompts=list(keys),
        traits=study.judges.traits,
        instructions=study.instruction_labels,
        score=score,
        coverage=coverage,
        baseline=baseline,
        judges=[identities[trait] for trait in study.judges.traits],
    )


def _means(study: Study, scores: Scores) -> str:
    return ", ".join(
        f"{trait} {np.nanmean(row):.0f}" for trait, row in zip(study.judges.traits, scores.score, strict=True)
    )
