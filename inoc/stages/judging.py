"""From an experiment's judges to scores: one judge per trait, one cell (run, step, condition, trait) at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from inoc.errors import BadInput, BadResult
from inoc.experiment import (
    Experiment,
    LanguageJudge,
    LexicalJudge,
    LogprobJudge,
    MisalignmentJudge,
    PluginJudge,
)
from inoc.experiment import Judge as Entry
from inoc.judge import Judge, JudgeRequest, check_nan_share, open_judge


@dataclass(frozen=True)
class Scores:
    """Scores (0-100, NaN = not judged) and coverage (0-1) of one set of responses."""

    score: Float64[np.ndarray, "trait instruction"]
    coverage: Float64[np.ndarray, "trait instruction"]


@dataclass(frozen=True)
class Judges:
    """The judge of every trait, in the experiment's order (positive, negative)."""

    by_trait: Mapping[str, Judge]

    @property
    def traits(self) -> tuple[str, ...]:
        return tuple(self.by_trait)

    def identities(self) -> dict[str, str]:
        """Trait -> what its scores depend on; scores of different identities are never mixed."""
        return {trait: judge.identity for trait, judge in self.by_trait.items()}

    def score(self, cell: str, instructions: Sequence[str], responses: Sequence[str]) -> Scores:
        """Judge every response for every trait.

        Raises BadResult naming the cell when 10 % or more of its scores are NaN.
        """
        shape = (len(self.by_trait), len(responses))
        score, coverage = np.full(shape, np.nan), np.full(shape, np.nan)
        for row, (trait, judge) in enumerate(self.by_trait.items()):
            requests = [
                JudgeRequest(str(i), trait, instruction, response)
                for i, (instruction, response) in enumerate(zip(instructions, responses, strict=True))
            ]
            judgments = list(judge.judge(requests))
            if sorted(int(j.id) for j in judgments) != list(range(len(requests))):
                raise BadResult(f"{cell}: the judge of {trait} did not answer every request exactly once")
            check_nan_share(f"{cell}, trait {trait}", judgments)
            for judgment in judgments:
                score[row, int(judgment.id)] = judgment.score
                coverage[row, int(judgment.id)] = judgment.coverage
        return Scores(score, coverage)


def open_judges(experiment: Experiment) -> Judges:
    """The judges of both traits.

    Raises BadInput where a trait names no judge.
    """
    judges: dict[str, Judge] = {}
    for trait in (experiment.traits.positive, experiment.traits.negative):
        if trait.judge is None:
            raise BadInput(
                f"trait {trait.name} has no judge: name one of `judges` in traits.…judge of the experiment file."
            )
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


def _service(entry: LogprobJudge | MisalignmentJudge) -> dict[str, str | int | float | None]:
    return {
        "model": entry.model,
        "url": entry.base_url,
        "key_env": entry.api_key_env,
        "concurrency": entry.concurrency,
        "requests_per_minute": entry.requests_per_minute,
    }
