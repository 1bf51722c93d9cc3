"""What a backend's own answers say against each other, where there is nothing to compare them with."""

from collections.abc import Sequence

import numpy as np

from inoc.backends.consistency import faults_of_context, next_tokens, scores
from inoc.backends.protocols import Backend, Sampler, SampleRequest, Scorer, ScoreRequest
from inoc.stages.capable import capable
from inoc.values import Sampling

DRAWS = 400


def faults_alone(backend: Backend, requests: Sequence[ScoreRequest]) -> tuple[str, ...]:
    """What is wrong with a backend's scores, and samples where it samples, by themselves, a sentence each: tokens of a
    context that do not count, probabilities that do not add up, draws that do not come from the scores, a greedy token
    that is not the most probable one. `requests` are contexts and completions as the study has them."""
    scorer, tokenizer = capable(backend, Scorer, "score"), backend.tokenizer
    text = requests[0].context + requests[0].completion
    faults = faults_of_context(scorer, tokenizer, text, backend.context_length)
    context = requests[0].completion[:2] or text[:2]
    samples = backend.capabilities.sample and isinstance(backend, Sampler)
    found = next_tokens(scorer, tokenizer, context, draws=DRAWS if samples else 0)
    faults += [fault for fault in (found.fault_of_sum(), found.fault_of_draws()) if fault]
    if samples:
        sampler = capable(backend, Sampler, "sample")
        asked = [SampleRequest(f"greedy {i}", context) for i in range(8)]
        greedy = {done.token_ids for done in sampler.sample(asked, Sampling(temperature=0.0, max_tokens=1))}
        value = scores(scorer, [ScoreRequest("greedy", context, next(iter(greedy)))])["greedy"].sum()
        if len(greedy) > 1 or np.exp(value) < 0.99 * found.probability.max():
            faults.append("the token of temperature 0 is not the most probable one")
    return tuple(faults)
