"""The one rule of identity: which settings decide what is stored. `inoc.store.fingerprint.refuse` refuses a change."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import cast

from inoc.backends.protocols import Checkpoint, TrainingJob
from inoc.hashing import canonical_json, content_hash
from inoc.plan.study import Study
from inoc.store.fingerprint import difference
from inoc.values import Json, Scalar

SHARED = ("model", "revision", "weights", "baseline", "baseline_context", "placement", "template", "recipe", "seed")
"""Fields of a store's identity that all stages share; the others (engine, dtype, ...) belong to its scores."""
NOT_OF_A_JOB = ("directory", "resume_every", "questions")
"""Fields of a training job that do not change what is trained."""


def store_identity(study: Study) -> dict[str, Scalar]:
    """The settings that decide the scores of a store.

    Prompts, completions and pools are not among them: they are compared one by one, so that a store can grow.
    """
    return {**study.backend.identity(), **study.chat.identity(), "seed": study.experiment.seed}


def trainer_identity(study: Study) -> dict[str, Scalar]:
    """What the settings of a stored run say about the backend that trained it."""
    return {"backend": study.backend.name, **study.backend.identity()}


def job_identity(job: TrainingJob, study: Study) -> dict[str, Json]:
    """The settings that decide the result of a training job, field by field; rows and batches as hashes."""
    rows = content_hash([[row.id, row.token_ids, row.weights] for row in job.examples])
    small = replace(job, examples=(), batches=(), questions=())
    found: dict[str, object] = {
        **{name: value for name, value in asdict(small).items() if name not in NOT_OF_A_JOB},
        "examples": f"{len(job.examples)} rows, content {rows}",
        "batches": f"{len(job.batches)} updates, order {content_hash(job.batches)}",
        "backend": dict(study.backend.identity()),
        "start": job.start and _by_content(job.start),
    }
    return cast("dict[str, Json]", json.loads(canonical_json(found)))


def _by_content(start: Checkpoint) -> dict[str, object]:
    """A checkpoint by the hash of its manifest, wherever the study is now; by its location where there is no hash."""
    left_out = "content" if start.content is None else "location"
    return {name: value for name, value in asdict(start).items() if name != left_out}


def answers_identity(texts: str, checkpoint: Checkpoint | None) -> str:
    """The hash of everything that decides sampled answers: `texts` is the hash of their plan."""
    weights = None if checkpoint is None else [checkpoint.step, checkpoint.content or checkpoint.location]
    return content_hash(texts, weights)


def identity_changes(stored: Mapping[str, object], study: Study, scores: bool) -> list[str]:
    """How the stored identity differs from the study's: in every field for scores, else in those that all share."""
    mine = store_identity(study)
    if scores:
        known = stored if "engine" in mine else {name: value for name, value in stored.items() if name != "engine"}
        return difference(known, mine)  # a dry run asks no server for its version
    both = [name for name in SHARED if name in stored and name in mine]
    return difference({name: stored[name] for name in both}, {name: mine[name] for name in both})
