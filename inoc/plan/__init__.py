"""A study compiled into plain values: what there is to score, sample, train and judge, with content hashes.

Nothing here asks a backend for more than its tokenizer, context length and identity, and nothing is written.
"""

from inoc.plan.evaluation import Cell, Evaluated, plan_evaluation
from inoc.plan.judges import Judges
from inoc.plan.scores import ScorePlan, SetPlan, UnitRequests, plan_scores
from inoc.plan.study import Study
from inoc.plan.texts import Question, Texts
from inoc.plan.training import TrainingPlan, plan_training

__all__ = [
    "Cell",
    "Evaluated",
    "Judges",
    "Question",
    "ScorePlan",
    "SetPlan",
    "Study",
    "Texts",
    "TrainingPlan",
    "UnitRequests",
    "plan_evaluation",
    "plan_scores",
    "plan_training",
]
