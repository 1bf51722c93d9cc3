"""Judges: a response in, a score from 0 to 100 out. `open_judge` finds them by name."""

from inoc.judge.checks import check_nan_share
from inoc.judge.protocols import Judge, JudgeFactory, JudgeRequest, Judgment
from inoc.judge.registry import open_judge
from inoc.judge.scale import expected_score

__all__ = ["Judge", "JudgeFactory", "JudgeRequest", "Judgment", "check_nan_share", "expected_score", "open_judge"]
