"""A study compiled into plain values: what there is to score, sample, train and judge, with content hashes.

Nothing here asks a backend for more than its tokenizer, context length and identity, and nothing is written.
"""

from inoc.plan.evaluation import Cell, Evaluated, checkpoint_questions, plan_evaluation, texts_of_step
from inoc.plan.identity import (
    answers_identity,
    job_identity,
    refuse,
    shared_difference,
    store_identity,
    trainer_identity,
)
from inoc.plan.judges import Judges, open_judges
from inoc.plan.scores import ScorePlan, SetPlan, UnitRequests, plan_scores
from inoc.plan.study import Study
from inoc.plan.texts import (
    Question,
    Texts,
    elicitation_texts,
    generated_texts,
    make_texts,
    most_tokens,
    sample_requests,
    sets_to_make,
)
from inoc.plan.training import TrainingPlan, batches, plan_training, training_rows

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
    "answers_identity",
    "batches",
    "checkpoint_questions",
    "elicitation_texts",
    "generated_texts",
    "job_identity",
    "make_texts",
    "most_tokens",
    "open_judges",
    "plan_evaluation",
    "plan_scores",
    "plan_training",
    "refuse",
    "sample_requests",
    "sets_to_make",
    "shared_difference",
    "store_identity",
    "texts_of_step",
    "trainer_identity",
    "training_rows",
]
