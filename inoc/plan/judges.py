"""Which judge gives which score, as the experiment says."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from inoc.errors import BackendUnavailable, BadInput
from inoc.experiment import (
    ChatJudge,
    Experiment,
    LanguageJudge,
    LexicalJudge,
    LogprobJudge,
    MisalignmentJudge,
    PluginJudge,
)
from inoc.experiment import Judge as Entry
from inoc.judge import Judge, open_judge
from inoc.judge.registry import JUDGES
from inoc.plugins import Plugin
from inoc.values import Scalar


@dataclass(frozen=True)
class Judges:
    """The judge of every score that has one, in the experiment's order; rates follow from these."""

    by_score: Mapping[str, Judge]

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of the judged scores."""
        return tuple(self.by_score)

    def identities(self) -> dict[str, str]:
        """What the values of each score depend on; values of different identities are never mixed."""
        return {name: judge.identity for name, judge in self.by_score.items()}


def open_judges(experiment: Experiment) -> Judges:
    """The judges of all scores; nothing is sent. BadInput where a score has neither a judge nor a rate."""
    judges: dict[str, Judge] = {}
    for name, score in experiment.scores.items():
        if score.judge is not None:
            judges[name] = _open(name, score.judge)
        elif score.rate is None:
            raise BadInput(f"the score {name} has no judge. Fix: give scores.{name} a `judge` or a `rate`.")
    return Judges(judges)


def plugin_problems(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    """What plugins say of the options of their judges, each of which is made; nothing is sent.

    Yields:
        The score, the sentence, and "error", or "note" where the judge cannot work here.
    """
    for name, score in experiment.scores.items():
        if isinstance(score.judge, PluginJudge):
            try:
                _open(name, score.judge)
            except BackendUnavailable as error:
                yield name, str(error), "note"
            except BadInput as error:
                yield name, str(error), "error"


def plugins_used(experiment: Experiment) -> list[Plugin | None]:
    """Where the judges come from that the experiment takes from plugins."""
    judges = (score.judge for score in experiment.scores.values())
    return [JUDGES.find(judge.name) for judge in judges if isinstance(judge, PluginJudge)]


def _open(trait: str, entry: Entry) -> Judge:
    match entry:
        case LogprobJudge():
            options = _service(entry) | {"scale": entry.scale, "question": entry.question}
            return open_judge("logprob", trait, options)
        case ChatJudge():
            labels = None if entry.labels is None else json.dumps(dict(entry.labels))
            more = {"labels": labels, "max_tokens": entry.max_tokens, "temperature": entry.temperature}
            return open_judge(
                "chat", trait, _service(entry) | more | {"scale": entry.scale, "question": entry.question}
            )
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


def _service(entry: LogprobJudge | ChatJudge | MisalignmentJudge) -> dict[str, Scalar]:
    return {
        "model": entry.model,
        "url": entry.base_url,
        "key_env": entry.api_key_env,
        "concurrency": entry.concurrency,
        "requests_per_minute": entry.requests_per_minute,
    }
