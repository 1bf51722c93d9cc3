"""Does this backend's log-probability of token i belong to token i of this model? Two independent looks at a few
completions: the backend asked one token at a time, and the local backend asked for the same."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inoc.backends.consistency import scores
from inoc.backends.protocols import Backend, Provable, Scorer, ScoreRequest
from inoc.errors import InocError
from inoc.experiment import Experiment
from inoc.plan import Study, plan_scores
from inoc.stages.capable import capable
from inoc.stages.doctor.alone import faults_alone
from inoc.stages.doctor.causes import ADVICE, Cause, Values, find_cause
from inoc.stages.doctor.reference import Reference, find_reference

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25, "float16": 0.05}
"""Largest difference (nats) that arithmetic alone explains, by dtype of the weights."""


@dataclass(frozen=True)
class Place:
    """One token of one completion, what the backend says of it and what the reference says (nats)."""

    completion: int
    token: int
    text: str
    value: float
    expected: float


@dataclass(frozen=True)
class AgreementReport:
    """Differences in nats over `tokens` tokens of `completions` completions.

    Attributes:
        one_by_one: the largest, against the same backend asked for single tokens in requests of their own.
        reference: what else scored the same model here; None where nothing could, and `not_compared` says why.
        difference: the largest per token, against the reference; `mean` is that of the absolute differences.
        worst: where the largest is.
        tolerance: what arithmetic explains.
        contradictions: sentences about answers that contradict each other; looked for where there is no reference.
    """

    completions: int
    tokens: int
    tolerance: float
    one_by_one: float
    reference: str | None
    not_compared: str | None
    difference: float | None
    mean: float | None
    worst: Place | None
    cause: Cause | None
    seconds: float
    contradictions: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing is wrong as far as it could be looked at."""
        return self.cause is None

    @property
    def advice(self) -> str | None:
        """What to do about the cause."""
        return None if self.cause is None else ADVICE[self.cause]


def check_agreement(experiment: Experiment, backend: Backend, n: int = 20) -> AgreementReport:
    """Score the first `n` completions of the experiment in one batch, and compare."""
    begin = time.perf_counter()
    scorer = capable(backend, Scorer, "score")
    if isinstance(backend, Provable) and (proof := backend.needs_proof()) is not None:
        backend.accept_proofs([proof])  # to be proved here
    tolerance = TOLERANCE[experiment.model.dtype]
    asked = requests_to_compare(experiment, backend, n)
    values = scores(scorer, asked)
    alone = one_by_one(backend, asked, values)
    reference, about = find_reference(backend, experiment.model_spec())
    difference = mean = worst = cause = None
    if reference is not None:
        try:
            wanted = requests_to_compare(experiment, reference.backend, n)
            expected: Values = scores(reference.scorer, asked) if wanted == asked else {}
        except InocError as error:
            reference, about = None, str(error)
        else:
            if expected:
                difference, mean, worst = compare(values, expected, asked, reference)
            cause = find_cause(values, expected, asked, wanted, reference, tolerance)
    if cause is None and alone > tolerance:
        cause = Cause.WRONG_TOKENS if alone > 1 else Cause.BATCH
    contradictions = faults_alone(backend, asked) if cause is None and reference is None else ()
    if contradictions:
        cause = Cause.CONTRADICTION
    return AgreementReport(
        completions=len(asked), tokens=sum(len(request.completion) for request in asked), tolerance=tolerance,
        one_by_one=alone, reference=about if reference else None, not_compared=None if reference else about,
        difference=difference, mean=mean, worst=worst, cause=cause, seconds=time.perf_counter() - begin,
        contradictions=contradictions,
    )  # fmt: skip


def requests_to_compare(experiment: Experiment, backend: Backend, n: int) -> tuple[ScoreRequest, ...]:
    """Up to `n` completions of the train set as this backend's tokenizer writes them, by turns without a prefix and
    with the first prompt, so that contexts of both kinds are shared and batched."""
    study = Study(experiment, backend, Path())
    plan = plan_scores(study, sets=("train",), prefix_types=("fixed",))
    entry = plan.sets[0]
    requests: list[ScoreRequest] = []
    for k, (example, ids) in enumerate(zip(entry.examples[:n], entry.token_ids[:n], strict=True)):
        prefix = plan.prompts[0].text if k % 2 and plan.prompts else None
        requests.append(ScoreRequest(str(k), study.chat.context(example.instruction, prefix), ids))
    return tuple(requests)


def one_by_one(backend: Backend, requests: Sequence[ScoreRequest], values: Values) -> float:
    """The largest difference to token i asked alone after context + tokens < i, for the first, second, middle and last
    token of every completion: a value that belongs to an adjacent token, depends on the batch or is from a stale cache
    shows here. A backend of jobs is asked once for all."""
    scorer = capable(backend, Scorer, "score")
    singles: dict[ScoreRequest, float] = {}
    for request in requests:
        n = len(request.completion)
        for i in sorted({0, min(1, n - 1), n // 2, n - 1}):
            context, token = request.context + request.completion[:i], request.completion[i : i + 1]
            singles[ScoreRequest(f"{request.id}.{i}", context, token)] = float(values[request.id][i])
    calls = [tuple(singles)] if backend.capabilities.jobs else [(single,) for single in singles]
    found = {id: value for call in calls for id, value in scores(scorer, call).items()}
    return max(abs(float(found[single.id][0]) - value) for single, value in singles.items())


def compare(
    values: Values, expected: Values, asked: Sequence[ScoreRequest], reference: Reference
) -> tuple[float, float, Place]:
    """The largest and the mean absolute difference per token, and the place of the largest."""
    gaps: Mapping[str, np.ndarray] = {id: np.abs(row - expected[id]) for id, row in values.items()}
    worst = max(asked, key=lambda request: float(gaps[request.id].max()))
    i = int(gaps[worst.id].argmax())
    text = reference.backend.tokenizer.decode([worst.completion[i]])
    place = Place(int(worst.id), i, text, float(values[worst.id][i]), float(expected[worst.id][i]))
    return float(gaps[worst.id][i]), float(np.concatenate(list(gaps.values())).mean()), place
