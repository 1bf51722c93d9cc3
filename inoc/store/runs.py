"""A run (one fine-tuning) as the store knows it: what was trained, and the evaluations planned for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import cast

from inoc.store.schema import ALL_FILES, CONDITIONS


@dataclass(frozen=True)
class RunInfo:
    """One run without its numbers.

    Attributes:
        name: The run; it becomes a directory name.
        prompt: Key of its inoculation prompt; "" for the control run.
        prefix_type: "none" (control), "fixed" or "mix".
        seed: Training seed; -1 unknown.
        nominal_step: The last full update; -1 unknown.
        settings: Further settings as JSON values (learning rate, ...).
        sampling: How its answers are sampled (temperature, ...); empty = unknown.
    """

    name: str
    prompt: str
    prefix_type: str
    seed: int = -1
    nominal_step: int = -1
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    sampling: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def start(self) -> str | None:
        """The run it continues; None for a run from the base model."""
        return self._text("start")

    @property
    def data(self) -> str | None:
        """The rows it is trained on, in words: a file, or the entries of a mixture; None for the train set."""
        value = self.settings.get("data")
        entries = cast(Sequence[Mapping[str, object]], value) if isinstance(value, list | tuple) else None
        return self._text("data") if entries is None else " + ".join(map(_entry, entries))

    @property
    def leak_of(self) -> str | None:
        """The run whose conditions these are; None for a run of its own. Earlier versions stored the prompts
        tried on a run as a second run."""
        return self._text("leak_of")

    @property
    def trained_with(self) -> Mapping[str, object]:
        """The backend that trained it, as it describes itself; empty where unknown."""
        return cast(Mapping[str, object], self.settings.get("trained_with") or {})

    def _text(self, key: str) -> str | None:
        value = self.settings.get(key)
        return str(value) if value else None

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes of the run's group."""
        return {
            "prompt": self.prompt,
            "prefix_type": self.prefix_type,
            "seed": self.seed,
            "nominal_step": self.nominal_step,
            "settings": dict(self.settings),
            "sampling": dict(self.sampling),
        }

    @classmethod
    def stored(cls, name: str, attributes: Mapping[str, object]) -> "RunInfo":
        """The run with these attributes; what an older store lacks is unknown."""
        return cls(
            name,
            str(attributes.get("prompt", "")),
            str(attributes.get("prefix_type", "none")),
            cast(int, attributes.get("seed", -1)),
            cast(int, attributes.get("nominal_step", -1)),
            cast(Mapping[str, object], attributes.get("settings") or {}),
            cast(Mapping[str, object], attributes.get("sampling") or {}),
        )


@dataclass(frozen=True, kw_only=True)
class RunPlan(RunInfo):
    """A run and the evaluations to make room for.

    Attributes:
        traits: Names of the judged traits.
        instructions: Labels of the answers, one for each; that of a question answered once is the question's.
        questions: The question of each answer; empty: each its own.
        files: The named file that each question comes from; empty: one file.
        steps: Updates at which it is evaluated, in the order they were planned.
        conditions: Conditions it is evaluated under.
        at_last: Those of them, the probes, that are evaluated at the nominal step only.
        judges: Identity of the judge by trait; "unknown" where not given.
        generations: Whether the answers are stored too.
    """

    traits: Sequence[str]
    instructions: Sequence[str]
    questions: Sequence[str] = ()
    files: Sequence[str] = ()
    steps: Sequence[int]
    conditions: Sequence[str] = CONDITIONS
    at_last: Sequence[str] = ()
    judges: Mapping[str, str] = field(default_factory=dict[str, str])
    generations: bool = False

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The variables of the run's group that never change; conditions may be added."""
        return {
            "condition": tuple(self.conditions),
            "trait": tuple(self.traits),
            "instruction": tuple(self.instructions),
            "question": tuple(self.questions or self.instructions),
            "file": tuple(self.files or [ALL_FILES] * len(self.instructions)),
            "judge": tuple(self.judges.get(trait, "unknown") for trait in self.traits),
        }


def _entry(entry: Mapping[str, object]) -> str:
    """An entry of a mixture in words: `30 % of plain.jsonl, tag risky, prefix none`."""
    share, n = entry.get("share"), entry.get("n")
    amount = f"{100 * share:g} % of " if isinstance(share, float | int) else f"{n} of " if n else ""
    only = [f"{field} {value}" for field, value in cast(Mapping[str, object], entry.get("where") or {}).items()]
    prefix = [f"prefix {entry['prefix']}"] if "prefix" in entry else []
    return ", ".join([f"{amount}{PurePath(str(entry.get('path'))).name}", *only, *prefix])
