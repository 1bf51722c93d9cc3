"""All stages of a study in order. Each is resumable, so the whole is: the same call resumes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from inoc.errors import InocError, OtherSettings
from inoc.names import refuse_unknown
from inoc.plan import Study
from inoc.plan.texts import sets_to_make
from inoc.stages.describe import describe, forecast_description
from inoc.stages.elicit import elicit, forecast_elicitation
from inoc.stages.evaluate import evaluate, forecast_evaluation
from inoc.stages.forecast import Forecast
from inoc.stages.generate import forecast_generation, generate
from inoc.stages.probe import forecast_probes, probe
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.score import forecast_scores, score
from inoc.stages.train import forecast_training, train

Stage = Literal["generate", "score", "probe", "describe", "elicit", "train", "evaluate"]
STAGES: tuple[Stage, ...] = ("generate", "score", "probe", "describe", "elicit", "train", "evaluate")


@dataclass(frozen=True)
class StageDone:
    """A stage that ran, or why it had nothing to do."""

    stage: Stage
    what: str


def run_study(study: Study, stages: Sequence[Stage] = STAGES, watcher: Watcher = UNWATCHED) -> tuple[StageDone, ...]:
    """Run the stages that the experiment and the backend have something for, in order. What is stored is not made
    again; what was done before an error is kept.

    Raises:
        OtherSettings: A setting of any stage differs from what the store was made with; nothing is done then.
    """
    if (study.store / "zarr.json").exists():
        refuse_changes(study, stages)
    done: list[StageDone] = []
    for stage in stages:
        try:
            reason = left_out(study, stage)
            what = _run(study, stage, watcher) if reason is None else f"left out: {reason}"
        except InocError as error:
            error.add_note(f"The stage {stage} stopped; what was done before is kept.")
            raise
        done.append(StageDone(stage, what))
        watcher.note(f"{stage}: {what}")
    return tuple(done)


def stages_named(names: Sequence[str]) -> tuple[Stage, ...]:
    """The stages of these names, all where there are none; BadInput for an unknown one."""
    refuse_unknown("stage", names, STAGES)
    return tuple(stage for name in names for stage in STAGES if stage == name) or STAGES


def forecast_study(study: Study, stages: Sequence[Stage] = STAGES) -> tuple[Forecast, ...]:
    """What each stage would do; nothing is sent and nothing is written."""
    return tuple(_forecast(study, stage) for stage in stages)


def refuse_changes(study: Study, stages: Sequence[Stage]) -> None:
    """Raise OtherSettings where a stage would refuse the store; what else is wrong its own stage says."""
    for stage in stages:
        try:
            _forecast(study, stage)
        except OtherSettings:
            raise
        except InocError:
            continue


def left_out(study: Study, stage: Stage) -> str | None:
    """Why the study has nothing for a stage; None where it has."""
    can, has_runs = study.backend.capabilities, bool(study.experiment.runs())
    match stage:
        case "score" | "describe":
            return None if can.score else "the backend cannot score"
        case "probe":
            return None if study.experiment.inside else "the experiment has no `inside`"
        case "elicit":
            return None if study.experiment.evaluation else "the experiment has no evaluation"
        case "train":
            return None if has_runs else "the experiment has no training.runs"
        case "evaluate":
            return None if has_runs and study.experiment.evaluation else "no runs, or no evaluation"
        case "generate":
            return None


def _run(study: Study, stage: Stage, watcher: Watcher) -> str:
    match stage:
        case "generate":
            return ", ".join(f"{made.name} {made.rows} rows" for made in generate(study, watcher=watcher)) or "no set"
        case "score":
            report = score(study, watcher=watcher)
            return f"{report.scored} units scored, {report.already} stored already"
        case "probe":
            probed = probe(study, watcher=watcher)
            return f"{probed.probed} units probed, {probed.already} stored already"
        case "describe":
            embeds = study.backend.capabilities.embed
            describe(study, embeddings=embeds, watcher=watcher)
            return "self-perplexity and " + ("embeddings" if embeds else "no embeddings (the backend makes none)")
        case "elicit":
            elicited = elicit(study, watcher=watcher)
            return f"{elicited.judged} prompts judged, {elicited.already} stored already"
        case "train":
            return f"{len(train(study, watcher=watcher))} runs trained"
        case "evaluate":
            evaluated = evaluate(study, watcher=watcher)
            return f"{evaluated.judged} evaluations judged, {evaluated.already} stored already"


def _forecast(study: Study, stage: Stage) -> Forecast:
    reason = left_out(study, stage)
    if reason is not None:
        return Forecast(stage, (), None, (f"left out: {reason}",))
    if stage in ("probe", "train", "evaluate") and "train" in sets_to_make(study):
        return Forecast(stage, (), None, ("counted once the completion set train is made",))
    if stage == "describe":
        return forecast_description(study, study.backend.capabilities.embed)
    forecasts = {"generate": forecast_generation, "score": forecast_scores, "probe": forecast_probes,
                 "elicit": forecast_elicitation, "train": forecast_training,
                 "evaluate": forecast_evaluation}  # fmt: skip
    return forecasts[stage](study)
