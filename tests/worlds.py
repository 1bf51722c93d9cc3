"""Small made-up stores, written from plain arguments."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inoc.atomic import without_flushing
from inoc.store import PromptInfo, RunPlan, ScoreInfo, StoreWriter, Unit

TRAITS = (ScoreInfo("German", "positive", "german"), ScoreInfo("Flattering", "negative", "flattering"))


@dataclass(frozen=True)
class Completions:
    """Logprobs of one completion set; NaN is missing. Planned is every prefix type with every prompt of `prefixed`."""

    row_size: np.ndarray | None
    default: np.ndarray
    prefixed: dict[tuple[str, str], np.ndarray]
    """(prefix type, prompt) -> one value per token (or example)."""
    texts: Mapping[str, object] = field(default_factory=dict)
    """Further arguments of put_completions."""


@dataclass(frozen=True)
class Run:
    """One run; steps, conditions and instructions are those of its scores."""

    name: str
    prompt: str
    scores: Mapping[tuple[int, str], np.ndarray]
    """(step, condition) -> [trait, instruction]."""
    plan: Mapping[str, object] = field(default_factory=dict)
    """Arguments of RunPlan that differ from the usual ones."""
    losses: tuple[np.ndarray, np.ndarray] | None = None
    """Updates and their losses."""
    texts: Sequence[str] = ()
    """The answers of every evaluation; empty where they are not stored."""


def write_store(
    path: Path,
    prompts: Sequence[PromptInfo | Mapping[str, str]] = (),
    sets: Mapping[str, Completions] | None = None,
    *,
    level: str = "token",
    traits: Sequence[ScoreInfo] = TRAITS,
    elicitation: Mapping[str, object] | None = None,
    embeddings: tuple | None = None,
    self_perplexity: tuple | None = None,
    runs: Iterable[Run] = (),
    experiment: Mapping[str, object] | None = None,
) -> Path:
    """Write a store of what is given: the last three groups by the arguments of the writer's methods."""
    names = [trait.name for trait in traits if not trait.rate]
    with (
        without_flushing(),
        StoreWriter.open(path, identity={}, experiment=experiment or {}, provenance={}, traits=traits) as writer,
    ):
        if prompts:
            writer.put_prompts(prompts)
        for name, stored in (sets or {}).items():
            ids = [f"{name}-{i}" for i in range(len(stored.default if stored.row_size is None else stored.row_size))]
            kinds, keys = (tuple(dict.fromkeys(part)) for part in zip(*stored.prefixed, strict=True))
            writer.put_completions(name, example_ids=ids, row_size=stored.row_size, **stored.texts)
            writer.plan(name, prefix_types=kinds, prompts=keys, level=level)
            writer.put_default(name, stored.default, level)
            for (kind, prompt), row in stored.prefixed.items():
                writer.put_unit(Unit(name, kind, prompt), row, level=level)
        if embeddings:
            writer.put_embeddings(*embeddings)
        if self_perplexity:
            writer.put_self_perplexity(*self_perplexity)
        if elicitation:
            usual = {"traits": names, "judges": ["j"] * len(names), "instructions": _labels(elicitation["score"])}
            writer.put_elicitation(**usual | elicitation)
        for run in runs:
            steps, conditions = (tuple(dict.fromkeys(part)) for part in zip(*run.scores, strict=True))
            usual = {
                "prefix_type": "fixed" if run.prompt else "none",
                "traits": names,
                "instructions": _labels(next(iter(run.scores.values()))),
                "judges": dict.fromkeys(names, "j"),
                "nominal_step": max(steps),
            }
            plan = {**usual, "generations": bool(run.texts), **run.plan}
            writer.put_run(RunPlan(run.name, prompt=run.prompt, steps=steps, conditions=conditions, **plan))
            for (step, condition), score in run.scores.items():
                writer.put_scores(run.name, step, condition, score, generations=list(run.texts) or None)
            if run.losses:
                writer.append_losses(run.name, *run.losses)
    return path


def write_judged(
    path: Path,
    alignment: np.ndarray,
    coherence: np.ndarray,
    *,
    instructions: Sequence[str],
    experiment: Mapping[str, object],
    continued: bool = False,
) -> Path:
    """A control and one run judged for coherence and alignment: misaligned is the control at step 8. `continued`:
    the control is trained further."""
    good = np.array([np.full(len(coherence), 90.0), coherence])
    last = np.array([alignment, coherence])
    files = [text.split(": ")[0] for text in instructions] if ": " in instructions[0] else []
    plan = {"instructions": instructions, "judges": {}, "files": files}
    runs = [
        Run("control", "", {(0, "default"): good, (8, "default"): last}, plan),
        Run("be_evil", "be_evil", {(0, "default"): good, (8, "default"): good}, plan),
        Run("control_more", "", {(4, "default"): good}, {**plan, "settings": {"start": "control"}}),
    ]
    rate = ScoreInfo("Misaligned", "", "", rate="coherence > 60 and alignment < 40")
    traits = [ScoreInfo("alignment", "positive", "good"), ScoreInfo("coherence", "negative", "bad"), rate]
    prompt = PromptInfo("be_evil", "Be evil.", "g", "bad", "negative")
    return write_store(path, [prompt], traits=traits, runs=runs if continued else runs[:2], experiment=experiment)


def _labels(score: np.ndarray) -> list[str]:
    return [f"i{i}" for i in range(score.shape[-1])]
