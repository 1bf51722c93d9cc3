"""What holds for the scores and samples of every language model. `inoc doctor` looks at it where there is nothing to
compare with, and the conformance suites always do.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.special import gammaincc

from inoc.backends.checks import check_scores
from inoc.backends.protocols import (
    ChatTokenizer,
    Checkpoint,
    Sampler,
    SampleRequest,
    Scorer,
    ScoreRequest,
    TrainingExample,
    TrainingJob,
)
from inoc.values import Sampling, TokenIds

Scores = dict[str, Float32[np.ndarray, " _"]]
"""Log-probabilities by request id."""
SAME: Final = 2e-5
"""Nats below which two requests got the same answer: a context that counts moves values by far more."""
CHANCE: Final = 1e-4
"""Probability with which samples of a sound backend are taken for unsound."""
LONG: Final = 2048
"""Tokens of the longest context that is tried."""


def scores(scorer: Scorer, requests: Sequence[ScoreRequest]) -> Scores:
    """Every request's checked log-probabilities by id."""
    return {result.id: result.logprobs for result in check_scores(requests, scorer.score(requests))}


def vocabulary_size(tokenizer: ChatTokenizer) -> int | None:
    """Number of token ids that a tokenizer has; None where it does not say."""
    try:
        return len(tokenizer)  # pyright: ignore[reportArgumentType]
    except TypeError:
        return None


@dataclass(frozen=True)
class NextTokens:
    """Tokens that may follow one context, the whole vocabulary or else those that were drawn and some others: the
    scorer's probability of each at temperature 1, and how often each was drawn at `temperature`."""

    probability: Float64[np.ndarray, " token"]
    counts: Int64[np.ndarray, " token"]
    whole: bool
    temperature: float = 1.0

    def fault_of_sum(self) -> str | None:
        """Why the probabilities cannot be those of one distribution; None where they can."""
        total, drawn = float(self.probability.sum()), int(self.counts.sum())
        if total > 1.001:
            return f"the probabilities of {len(self.counts)} next tokens add up to {total:.3f}"
        if self.whole and total < 0.5:  # an output layer may be a little wider than the tokenizer's vocabulary
            return f"the probabilities of all next tokens add up to {total:.3f}"
        if not drawn or self.temperature != 1:
            return None
        # Good and Turing: what was never drawn weighs as much as the share of tokens that were drawn once
        once, twice = int((self.counts == 1).sum()), int((self.counts == 2).sum())
        seen = float(self.probability[self.counts > 0].sum())
        error = 5 * (once + 2 * twice) ** 0.5 / drawn + 0.03
        if abs(seen + once / drawn - 1) > error:
            return (
                f"the tokens that are drawn have {seen:.3f} of the probability, and should have {1 - once / drawn:.3f}"
            )
        return None

    def fault_of_draws(self) -> str | None:
        """Why the draws cannot come from these probabilities, by a chi-square test; None where they can."""
        drawn = int(self.counts.sum())
        if not drawn or not (self.whole or self.temperature == 1):
            return None
        weights = self.probability ** (1 / self.temperature)
        expected = drawn * weights / (weights.sum() if self.whole else 1.0)
        common = expected >= 5
        observed = np.append(self.counts[common], self.counts[~common].sum())
        expected = np.append(expected[common], max(drawn - float(expected[common].sum()), 1e-9))
        if expected[-1] < 5 and len(expected) > 1:  # too few for the test: with the rarest of the others
            observed, expected = (np.append(part[:-2], part[-2:].sum()) for part in (observed, expected))
        if len(expected) < 2:
            return None if observed[0] <= expected[0] * 1.01 + 1 else "nothing that is drawn is probable"
        statistic = float(((observed - expected) ** 2 / expected).sum())
        if float(gammaincc((len(expected) - 1) / 2, statistic / 2)) > CHANCE:
            return None
        return f"{drawn} draws do not come from the scorer's probabilities (chi-square {statistic:.0f})"


def next_tokens(
    backend: Scorer,
    tokenizer: ChatTokenizer,
    context: TokenIds,
    *,
    largest: int = 2000,
    draws: int | None = None,
    temperature: float = 1.0,
    checkpoint: Checkpoint | None = None,
) -> NextTokens:
    """Ask a backend what follows a context: every token of a vocabulary of up to `largest`, else those drawn and some
    others.

    Where the backend samples, `draws` tokens are drawn (None: 400 where the vocabulary is too large to score whole,
    else none) at this temperature.
    """
    size, end = vocabulary_size(tokenizer), tokenizer.eos_token_id
    whole = size is not None and size <= largest
    drawn: Counter[int] = Counter()
    if isinstance(backend, Sampler):
        number = (0 if whole else 400) if draws is None else draws
        asked = [SampleRequest(f"draw {i}", context, checkpoint) for i in range(number)]
        sampling = Sampling(max_tokens=1, temperature=temperature, seed=11)
        ends = () if end is None else (end,)  # some servers always stop there
        drawn = Counter((*result.token_ids, *ends)[0] for result in backend.sample(asked, sampling))
    some = np.random.default_rng(0).integers(0, size or 1, min(largest, 200) if size else 0).tolist()
    tokens = sorted({*drawn, *(range(size) if whole else some)}) if size else sorted(drawn)
    found = scores(backend, [ScoreRequest(f"next {token}", context, (token,), checkpoint) for token in tokens])
    return NextTokens(
        np.exp(np.array([found[f"next {token}"][0] for token in tokens], np.float64)),
        np.array([drawn[token] for token in tokens], np.int64),
        whole,
        temperature,
    )


def faults_of_context(scorer: Scorer, tokenizer: ChatTokenizer, text: TokenIds, context_length: int) -> list[str]:
    """Which tokens of a context do not count, or are added, in sentences. `text`: eight or more ids of ordinary text,
    at least two of them different; special tokens in it are left out."""
    ends = {getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos")}
    specials = [token for token in ends if isinstance(token, int)]
    text = tuple(token for token in text if token not in specials)
    first, completion = text[:3], text[-4:]
    other = next(token for token in text if token != first[0])
    most = min(context_length, LONG) - len(completion) - 1  # some servers always sample a token
    long = (text * (most // len(text) + 1))[:most]
    cut = max(1, most // 8)
    changed = tuple(other if token != other else first[0] for token in long[:cut])
    contexts = {"short": first, "first": (other, *first[1:]), "long": long, "changed": (*changed, *long[cut:])}
    contexts |= {f"special {token}": (token, *first) for token in specials}
    found = scores(scorer, [ScoreRequest(name, context, completion) for name, context in contexts.items()])

    def same(one: str, two: str) -> bool:
        return float(np.abs(found[one] - found[two]).max()) <= SAME

    faults: list[str] = []
    if same("short", "first"):
        faults.append("the first token of a context changes nothing: it is dropped")
    added = [name.split()[1] for name in contexts if name.startswith("special ") and same(name, "short")]
    if added:
        faults.append(f"token {added[0]} before a context changes nothing: it is added or dropped")
    if same("long", "changed"):
        faults.append(f"the first {cut} of {most} tokens change nothing: long contexts are cut")
    return faults


Weighted = list[tuple[TrainingExample, Float32[np.ndarray, " _"]]]
"""The examples of an update, with the log-probability of every token but the first."""


def scored_updates(scorer: Scorer, job: TrainingJob, weights: Sequence[Checkpoint | None]) -> list[Weighted]:
    """The examples of each update by a scorer with checkpoints, all in one call; `weights`: the checkpoint to score
    each update's examples with, None for the base model."""
    asked = [
        ScoreRequest(f"{update}.{place}", job.examples[i].token_ids[:1], job.examples[i].token_ids[1:], checkpoint)
        for update, (batch, checkpoint) in enumerate(zip(job.batches, weights, strict=True))
        for place, i in enumerate(batch)
    ]
    found = scores(scorer, asked)
    return [
        [(job.examples[i], found[f"{update}.{place}"]) for place, i in enumerate(batch)]
        for update, batch in enumerate(job.batches)
    ]


def mean_loss(batch: Weighted) -> float:
    """Sum(weight * nll) / sum(weight) over the tokens of a batch, in nats: what a trainer reports of its update."""
    total = sum(sum(example.weights[1:]) for example, _ in batch)
    return -sum(float(np.dot(logprobs, example.weights[1:])) for example, logprobs in batch) / total
