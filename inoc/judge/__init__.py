"""Judges: a response in, a score 0-100 out. `open_judge` finds them by name, shipped or plugins."""

from inoc.judge.checks import check_nan_share
from inoc.judge.expected_score import expected_score
from inoc.judge.misalignment import is_misaligned
from inoc.judge.protocols import Judge, JudgeFactory, Judgement, JudgeRequest
from inoc.judge.registry import judge_names, open_judge

__all__ = [
    "Judge",
    "JudgeFactory",
    "JudgeRequest",
    "Judgement",
    "check_nan_share",
    "expected_score",
    "is_misaligned",
    "judge_names",
    "open_judge",
]
