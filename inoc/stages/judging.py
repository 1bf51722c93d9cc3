"""From responses to scores: one cell (run, step, condition) at a time, every score by its own judge."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from inoc.errors import BadResult
from inoc.judge import JudgeRequest, check_nan_share
from inoc.plan import Judges


@dataclass(frozen=True)
class Scores:
    """Scores (0-100, NaN = not judged) and coverage (0-1) of one set of responses."""

    score: Float64[np.ndarray, "score question"]
    coverage: Float64[np.ndarray, "score question"]

    def by_name(self, names: Sequence[str]) -> dict[str, float]:
        """The mean of each score."""
        return dict(zip(names, np.nanmean(self.score, axis=1).tolist(), strict=True))

    def means(self, names: Sequence[str]) -> str:
        """The mean of each score, for the progress line."""
        return ", ".join(f"{name} {mean:.0f}" for name, mean in self.by_name(names).items())


@dataclass(frozen=True)
class JudgedReport:
    """What a call judged (prompts, or evaluations), and what was stored already."""

    judged: int
    already: int


def judge_responses(judges: Judges, cell: str, instructions: Sequence[str], responses: Sequence[str]) -> Scores:
    """Judge every response for every score; BadResult where 10 % or more of the scores of the cell are NaN."""
    shape = (len(judges.scores), len(responses))
    score, coverage = np.full(shape, np.nan), np.full(shape, np.nan)
    for row, (name, judge) in enumerate(judges.by_score.items()):
        requests = [
            JudgeRequest(str(i), name, instruction, response)
            for i, (instruction, response) in enumerate(zip(instructions, responses, strict=True))
        ]
        judgments = list(judge.judge(requests))
        if sorted(int(j.id) for j in judgments) != list(range(len(requests))):
            raise BadResult(f"{cell}: the judge of {name} did not answer every request exactly once.")
        check_nan_share(f"{cell}, score {name}", judgments)
        for judgment in judgments:
            score[row, int(judgment.id)] = judgment.score
            coverage[row, int(judgment.id)] = judgment.coverage
    return Scores(score, coverage)
