"""All stages of a study in order. Each is resumable, so the whole is: the same call again goes on where it stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from inoc.errors import InocError
from inoc.stages.describe import describe
from inoc.stages.elicit import elicit
from inoc.stages.evaluate import evaluate
from inoc.stages.generate import generate
from inoc.stages.progress import Unwatched, Watcher
from inoc.stages.score import score
from inoc.stages.study import Study
from inoc.stages.train import train
from inoc.store.schema import Unit

Stage = Literal["generate", "score", "describe", "elicit", "train", "evaluate"]
STAGES: tuple[Stage, ...] = ("generate", "score", "describe", "elicit", "train", "evaluate")


@dataclass(frozen=True)
class StageDone:
    """A stage that ran, or why it had nothing to do."""

    stage: Stage
    what: str


class _Scoring:
    """Tells a watcher, unit by unit, how scoring goes."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def begin(self, units: int, tokens: int) -> None:
        self._watcher.begin("scoring", units)

    def advance(self, tokens: int) -> None: ...

    def unit(self, unit: Unit, error: str | None) -> None:
        self._watcher.step(f"{unit.completion_set} {unit.prefix_type} {unit.prompt}".rstrip(), error or "")

    def note(self, text: str) -> None:
        self._watcher.note(text)


def run_study(
    study: Study, stages: tuple[Stage, ...] = STAGES, watcher: Watcher | None = None
) -> tuple[StageDone, ...]:
    """Run the stages that the experiment and the backend have something for, in order.

    Whatever is in the store already is not made again. Raises what a stage raises; what was done before stays.
    """
    watcher = watcher or Unwatched()
    experiment, can = study.experiment, study.backend.capabilities
    has_runs, has_questions = bool(experiment.runs()), experiment.evaluation is not None

    def do_generate() -> str:
        return (
            ", ".join(f"{made.name} {made.rows} rows" for made in generate(study, watcher=watcher))
            or "no set"
        )

    def do_score() -> str:
        done = score(experiment, study.backend, study.store, listener=_Scoring(watcher))
        return f"{done.scored} units scored, {done.already} were there"

    def do_describe() -> str:
        describe(study, embeddings=can.embed, watcher=watcher)
        return (
            "self-perplexity and embeddings"
            if can.embed
            else "self-perplexity (the backend makes no embeddings)"
        )

    def do_elicit() -> str:
        done = elicit(study, watcher=watcher)
        return f"{done.judged} prompts judged, {done.already} were there"

    def do_train() -> str:
        return f"{len(train(study, watcher=watcher))} runs trained"

    def do_evaluate() -> str:
        done = evaluate(study, watcher=watcher)
        return f"{done.judged} evaluations judged, {done.already} were there"

    steps: dict[Stage, tuple[Callable[[], str], str | None]] = {
        "generate": (do_generate, None),
        "score": (do_score, None if can.score else "the backend cannot score"),
        "describe": (do_describe, None if can.score else "the backend cannot score"),
        "elicit": (do_elicit, None if has_questions else "the experiment has no evaluation"),
        "train": (do_train, None if has_runs else "the experiment has no training.runs"),
        "evaluate": (do_evaluate, None if has_runs and has_questions else "no runs, or no evaluation"),
    }
    done: list[StageDone] = []
    for stage in stages:
        work, nothing = steps[stage]
        try:
            done.append(StageDone(stage, work() if nothing is None else f"left out: {nothing}"))
        except InocError as error:
            error.add_note(f"The stage {stage} stopped; what was done before is kept.")
            raise
        watcher.note(f"{stage}: {done[-1].what}")
    return tuple(done)
