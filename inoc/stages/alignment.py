"""Does this backend's log-probability of token i belong to token i? Two independent looks at a few
completions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from inoc.backends import check_scores
from inoc.backends.protocols import ModelSpec, Scorer, ScoreRequest, TokenIds
from inoc.stages.plan import ScorePlan

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25, "float16": 0.05}
"""Largest difference (nats) that arithmetic alone explains, by dtype of the weights."""
LARGEST_REFERENCE = 4 << 30
"""Bytes of weights up to which a second copy is loaded for the naive loop."""


@runtime_checkable
class Reference(Protocol):
    """A naive scorer: one text at a time, nothing shared, nothing batched."""

    def __call__(self, context: TokenIds, completion: TokenIds) -> Float32[np.ndarray, " token"]: ...


@dataclass(frozen=True)
class AlignmentReport:
    """Largest absolute differences in nats, over `tokens` tokens of `completions` completions.

    Attributes:
        one_by_one: against the same backend asked for one token at a time, in requests of their own.
        naive: against a naive loop that shares nothing with the backend; None where there is none.
        tolerance: what arithmetic explains.
    """

    completions: int
    tokens: int
    one_by_one: float
    naive: float | None
    tolerance: float

    @property
    def ok(self) -> bool:
        """Both differences within the tolerance."""
        return max(self.one_by_one, self.naive or 0.0) <= self.tolerance


def check_alignment(
    scorer: Scorer, requests: Sequence[ScoreRequest], tolerance: float, reference: Reference | None = None
) -> AlignmentReport:
    """Score all requests in one batch and compare.

    One by one: token i alone after context + tokens < i, for the first, second, middle and last token of each
    completion. A value that belongs to a neighbour, depends on the batch or comes from a stale cache shows
    here.

    Raises:
        BadResult: an answer that cannot be right at all.
    """
    batch = {r.id: r.logprobs for r in check_scores(requests, scorer.score(requests))}
    worst, naive = 0.0, None
    for request in requests:
        n = len(request.completion)
        for i in sorted({0, min(1, n - 1), n // 2, n - 1}):
            single = ScoreRequest(
                f"{request.id}.{i}", request.context + request.completion[:i], request.completion[i : i + 1]
            )
            (value,) = check_scores((single,), scorer.score((single,)))
            worst = max(worst, abs(float(value.logprobs[0]) - float(batch[request.id][i])))
        if reference is not None:
            difference = np.abs(reference(request.context, request.completion) - batch[request.id])
            naive = max(naive or 0.0, float(difference.max()))
    tokens = sum(len(request.completion) for request in requests)
    return AlignmentReport(len(requests), tokens, worst, naive, tolerance)


def alignment_requests(plan: ScorePlan, n: int = 20) -> tuple[ScoreRequest, ...]:
    """Up to `n` completions of the first set, by turns without a prefix and with the first prompt, so that
    contexts of both kinds are shared and batched."""
    entry = plan.sets[0]
    requests: list[ScoreRequest] = []
    for k, (example, ids) in enumerate(zip(entry.examples[:n], entry.token_ids[:n], strict=True)):
        prefix = plan.prompts[0].text if k % 2 and plan.prompts else None
        requests.append(ScoreRequest(str(k), plan.chat.context(example.instruction, prefix), ids))
    return tuple(requests)


def naive_reference(model: ModelSpec) -> Reference | None:
    """A loop over transformers in float32 log-softmax, for models of at most 4 GB that lie on this machine;
    None for others."""
    from inoc.backends.local.load import find

    folder = find(model).directory
    if sum(file.stat().st_size for file in folder.glob("*.safetensors")) > LARGEST_REFERENCE:
        return None
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    load = AutoModelForCausalLM.from_pretrained  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    net = load(folder, dtype=getattr(torch, model.dtype)).eval()

    def score_one(context: TokenIds, completion: TokenIds) -> Float32[np.ndarray, " token"]:
        with torch.no_grad():
            logits = net(torch.tensor([[*context, *completion]]), use_cache=False).logits[0].float()
        rows = torch.log_softmax(logits[len(context) - 1 : -1], dim=-1)
        return rows[torch.arange(len(completion)), torch.tensor(completion)].numpy()

    return score_one
