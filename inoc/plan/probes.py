"""What is to be probed: the examples, with every prefix and without, and the sets they are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

from inoc.backends.probing import ProbeGroup, ProbeKind, ProbeSpec
from inoc.backends.protocols import TrainingExample
from inoc.chat import assign_rephrasings
from inoc.errors import BadInput
from inoc.experiment import Example, Inside, subset
from inoc.hashing import content_hash
from inoc.names import refuse_unknown
from inoc.plan.identity import trainer_identity
from inoc.plan.scores import ScorePlan, plan_scores
from inoc.plan.study import Study
from inoc.plan.texts import sets_to_make
from inoc.values import Json

PROBES: tuple[ProbeKind, ...] = ("gradient", "activation", "logits")
CONTROL = "control"
TRAIT_SETS = ("positive", "negative")


class ProbeUnit(NamedTuple):
    """What is probed and stored as one piece."""

    prefix_type: str
    prompt: str


@dataclass(frozen=True)
class ProbingPlan:
    """Everything that `inoc probe` asks a backend for.

    Attributes:
        scores: The plan of the texts: what is probed was scored, with the same rephrasings.
        settings: The section `inside` of the experiment.
        examples: Of the set `train`.
        sets: Those of `control`, `positive` and `negative` that the experiment has: their examples, without a prefix.
    """

    scores: ScorePlan
    settings: Inside
    examples: tuple[Example, ...]
    sets: Mapping[str, tuple[TrainingExample, ...]]

    @property
    def units(self) -> tuple[ProbeUnit, ...]:
        """Every prefix type asked for, with every prompt asked for."""
        kinds = [kind for kind in self.scores.set("train").prefix_types if kind in self.scores.prefix_types]
        return tuple(ProbeUnit(kind, prompt.key) for kind in kinds for prompt in self.scores.prompts)

    @cached_property
    def default(self) -> ProbeGroup:
        """The examples without a prefix."""
        return ProbeGroup("none", self._rows([None] * len(self.examples)))

    def group(self, unit: ProbeUnit) -> ProbeGroup:
        """The examples with the prefix of a unit; under `mix` each with the rephrasing that it is scored with."""
        study, name = self.scores.study, f"{unit.prefix_type}/{unit.prompt}"
        if unit.prefix_type == "fixed":
            return ProbeGroup(name, self._rows([study.experiment.prompt(unit.prompt).text] * len(self.examples)))
        pool, scored = self.scores.pools[unit.prompt], [e.id for e in self.scores.set("train").examples]
        ids = [example.id for example in self.examples]
        picks = assign_rephrasings(study.experiment.seed, unit.prompt, ids, len(pool), study.recipe, scored)
        return ProbeGroup(name, self._rows([pool[int(pick)] for pick in picks]))

    def references(self, kind: ProbeKind) -> tuple[ProbeGroup, ...]:
        """What the gradients of units are multiplied with: that without a prefix, and by role that of a trait (its
        set minus the control set)."""
        if kind != "gradient":
            return ()
        traits = [name for name in TRAIT_SETS if name in self.sets and CONTROL in self.sets]
        return (self.default, *(ProbeGroup(name, self.sets[name], self.sets[CONTROL]) for name in traits))

    def spec(self, kind: ProbeKind) -> ProbeSpec:
        """What the backend looks at."""
        s = self.settings
        if kind == "gradient":
            return ProbeSpec(kind, weights=s.weights, rank=s.rank, dimension=s.dimension, seed=s.seed)
        return ProbeSpec(kind, layers=s.layers if kind == "activation" else ())

    def identity(self, kind: ProbeKind) -> dict[str, Json]:
        """The settings that decide the values of a probe, as the store records them."""
        study = self.scores.study
        used: dict[ProbeKind, tuple[str, ...]] = {
            "gradient": ("weights", "rank", "dimension", "seed"),
            "activation": ("layers",),
            "logits": (),
        }
        rows = {"train": self.default.examples} | (dict(self.sets) if kind != "logits" else {})
        hashes: dict[str, Json] = {
            name: f"{len(found)} examples, content {content_hash([[e.id, e.token_ids, e.weights] for e in found])}"
            for name, found in rows.items()
        }
        own = {name: cast(Json, self.settings.model_dump(mode="json")[name]) for name in used[kind]}
        return {**own, "sets": hashes, "backend": dict(trainer_identity(study))}

    def tokens(self, units: Sequence[ProbeUnit]) -> int:
        """Tokens of the examples of these units; the references are not counted."""
        return sum(len(example.token_ids) for unit in units for example in self.group(unit).examples)

    def _rows(self, prefixes: Sequence[str | None]) -> tuple[TrainingExample, ...]:
        chat = self.scores.study.chat
        return tuple(
            chat.training_example(e.id, e.instruction, e.completion, prefix=prefix, finish=e.finish)
            for e, prefix in zip(self.examples, prefixes, strict=True)
        )


def plan_probes(study: Study, *, prefix_types: Sequence[str] = (), prompts: Sequence[str] = ()) -> ProbingPlan:
    """Choose the examples and check that they fit the model's context.

    Args:
        study: What to compile.
        prefix_types: Only these of "fixed" and "mix"; empty for both.
        prompts: Only these prompts, by key or group; empty for all.

    Returns:
        The units asked for and their texts.

    Raises:
        BadInput: An unknown name, a file that cannot be used or is yet to be made, or an example that is too long.
    """
    if "train" in sets_to_make(study):
        raise BadInput("the completion set train is yet to be made. Fix: run `inoc generate` first.")
    made = [name for name, _ in study.experiment.completion_sets.items() if name not in sets_to_make(study)]
    scores = plan_scores(study, sets=made, prefix_types=prefix_types, prompts=prompts)
    settings = study.experiment.inside or Inside()
    sets = {
        entry.name: tuple(
            study.chat.training_example(e.id, e.instruction, e.completion, finish=e.finish)
            for e in subset(entry.examples, settings.examples, settings.seed)
        )
        for entry in scores.sets
        if entry.name in (CONTROL, *TRAIT_SETS)
    }
    return ProbingPlan(scores, settings, subset(scores.set("train").examples, settings.examples, settings.seed), sets)


def probes_named(names: Sequence[str]) -> tuple[ProbeKind, ...]:
    """The probes of these names, all where there are none; BadInput for an unknown one."""
    refuse_unknown("probe", names, PROBES)
    return tuple(kind for kind in PROBES if not names or kind in names)
