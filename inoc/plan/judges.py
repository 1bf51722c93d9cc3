"""Which judge scores which trait, as the experiment names them."""

from collections.abc import Mapping
from dataclasses import dataclass

from inoc.errors import BadInput
from inoc.experiment import Experiment, LanguageJudge, LexicalJudge, LogprobJudge, MisalignmentJudge, PluginJudge
from inoc.experiment import Judge as Entry
from inoc.judge import Judge, open_judge
from inoc.values import Scalar


@dataclass(frozen=True)
class Judges:
    """The judge of every trait, in the experiment's order (positive, negative)."""

    by_trait: Mapping[str, Judge]

    @property
    def traits(self) -> tuple[str, ...]:
        """The names of the traits."""
        return tuple(self.by_trait)

    def identities(self) -> dict[str, str]:
        """What the scores of each trait depend on; scores of different identities are never mixed."""
        return {trait: judge.identity for trait, judge in self.by_trait.items()}


def open_judges(experiment: Experiment) -> Judges:
    """The judges of both traits; nothing is sent. BadInput where a trait names no judge."""
    judges: dict[str, Judge] = {}
    for role, trait in (("positive", experiment.traits.positive), ("negative", experiment.traits.negative)):
        if trait.judge is None:
            raise BadInput(f"trait {trait.name} has no judge. Fix: set traits.{role}.judge to an entry of `judges`.")
        judges[trait.name] = _open(trait.name, experiment.judges[trait.judge])
    return Judges(judges)


def _open(trait: str, entry: Entry) -> Judge:
    match entry:
        case LogprobJudge():
            options = _service(entry) | {"scale": entry.scale, "question": entry.question}
            return open_judge("logprob", trait, options)
        case MisalignmentJudge():
            return open_judge(entry.aspect, trait, _service(entry))
        case LanguageJudge():
            options = {"language": entry.language, "languages": " ".join(entry.languages) or None}
            return open_judge("language", trait, options)
        case PluginJudge():
            return open_judge(entry.name, trait, entry.options)
        case LexicalJudge():
            if entry.lexicon:
                return open_judge("lexical", trait, {"function": entry.lexicon})
            return open_judge("lexical", trait, {"words": " ".join(entry.words)})


def _service(entry: LogprobJudge | MisalignmentJudge) -> dict[str, Scalar]:
    return {
        "model": entry.model,
        "url": entry.base_url,
        "key_env": entry.api_key_env,
        "concurrency": entry.concurrency,
        "requests_per_minute": entry.requests_per_minute,
    }
