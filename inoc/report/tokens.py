"""What the token viewer shows: sampled examples with both log-probabilities of every token."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from inoc.report.decode import Decodes, agrees, find_tokenizer, pieces
from inoc.store.arrays import TokenArrays
from inoc.store.store import Store

UNIT = 10_000
"""Log-probabilities are written as whole numbers of 1/UNIT nats."""
MOST_EXAMPLES = 24
MOST_TOKENS = 512
"""Tokens shown of one completion."""
BUDGET = 2_500_000
"""Characters of log-probabilities in the page."""
MOST_TEXT = 10_000
"""Characters of an instruction or completion; what follows is replaced by a mark."""
PER_VALUE = 8
"""Characters of one value, at most."""

Values = list[int | None]


@dataclass(frozen=True)
class TokenExample:
    """A completion: `texts` per token where there is a tokenizer, `token_ids` where they are stored."""

    example_id: str
    instruction: str
    completion: str
    tokens: int
    """Tokens of the completion; the lists below may be cut."""
    texts: list[str] | None
    token_ids: list[int] | None
    default: Values


@dataclass(frozen=True)
class TokenView:
    """All that the token viewer shows; log-probabilities in units of 1/`unit` nats, None where missing."""

    completion_set: str
    unit: int
    prompts: list[str]
    prefix_types: list[str]
    examples: list[TokenExample]
    prefixed: list[list[list[Values] | None]]
    """[prefix type][prompt][example][token]; None for a prompt that is not scored yet."""
    scale: float
    """Difference in nats from which a token has full color: the 95th percentile of the sizes shown."""
    notes: list[str]


def token_view(store: Store, completion_set: str, tokenizer: Path | None, seed: int) -> TokenView:
    """Examples of a set that is stored at token level (else IncompleteStore), as many as fit, drawn with the seed.
    BadInput where the tokenizer given cannot be read."""
    arrays = store.token_logprobs(completion_set)
    sizes = np.minimum(arrays.row_size, MOST_TOKENS)
    chosen = choose(sizes, int(arrays.done.sum()), seed)
    starts = np.concatenate([[0], np.cumsum(arrays.row_size)])
    spans = [slice(int(starts[k]), int(starts[k] + sizes[k])) for k in chosen]
    decoder, why = find_tokenizer(store, tokenizer)
    examples, wrong = _examples(store, completion_set, arrays, chosen, spans, decoder)
    prefixed: list[list[list[Values] | None]] = [
        [_unit(arrays, f, p, spans) for p in range(len(arrays.prompts))] for f in range(len(arrays.prefix_types))
    ]
    return TokenView(
        completion_set,
        UNIT,
        list(arrays.prompts),
        list(arrays.prefix_types),
        examples,
        prefixed,
        _scale(examples, prefixed),
        _notes(arrays, chosen, sizes, examples, why, wrong, seed),
    )


def choose(sizes: Int64[np.ndarray, " example"], units: int, seed: int) -> list[int]:
    """Places of the examples to show: drawn at random while they fit the budget, in the order of the store."""
    left = BUDGET
    taken: list[int] = []
    for k in np.random.default_rng(seed).permutation(len(sizes)):
        cost = int(sizes[k]) * max(units, 1) * PER_VALUE
        if sizes[k] and cost <= left and len(taken) < MOST_EXAMPLES:
            taken.append(int(k))
            left -= cost
    return sorted(taken)


def whole(values: Float[np.ndarray, " token"]) -> Values:
    """Log-probabilities as whole numbers of 1/UNIT nats; None where not finite."""
    return [round(float(v) * UNIT) if np.isfinite(v) else None for v in values]


def _unit(arrays: TokenArrays, f: int, p: int, spans: Sequence[slice]) -> list[Values] | None:
    if not arrays.done[f, p]:
        return None
    return [whole(np.asarray(arrays.prefixed[f, p, span])) for span in spans]


def _examples(
    store: Store,
    completion_set: str,
    arrays: TokenArrays,
    chosen: Sequence[int],
    spans: Sequence[slice],
    decoder: Decodes | None,
) -> tuple[list[TokenExample], str]:
    """The examples, and the id of the first one that the tokenizer does not decode to its completion."""
    stored = store.completions(completion_set) if store.has(f"completions/{completion_set}") else None
    ids = stored["token_id"].values if stored is not None and "token_id" in stored else None
    texts: dict[str, np.ndarray] = {}
    for name in ("instruction", "completion"):
        texts[name] = stored[name].values if stored is not None and name in stored else np.array([])
    found: list[TokenExample] = []
    wrong = ""
    starts = np.concatenate([[0], np.cumsum(arrays.row_size)])
    for k, span in zip(chosen, spans, strict=True):
        completion = str(texts["completion"][k]) if texts["completion"].size else ""
        token_ids = [int(i) for i in ids[span]] if ids is not None else None
        token_texts: list[str] | None = None
        if decoder is not None and ids is not None:
            every = [int(i) for i in ids[starts[k] : starts[k + 1]]]
            decoded = pieces(decoder, every)
            if completion and not agrees(decoded, completion):
                wrong = wrong or arrays.example_ids[k]
            token_texts = list(decoded[: span.stop - span.start])
        found.append(
            TokenExample(
                arrays.example_ids[k],
                _cut(str(texts["instruction"][k])) if texts["instruction"].size else "",
                _cut(completion),
                int(arrays.row_size[k]),
                token_texts,
                token_ids,
                whole(np.asarray(arrays.default[span])),
            )
        )
    if wrong:
        found = [replace(example, texts=None) for example in found]
    return found, wrong


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} [cut: {len(text)} characters in all]"


def _scale(examples: Sequence[TokenExample], prefixed: Sequence[Sequence[list[Values] | None]]) -> float:
    default = _flat([example.default for example in examples])
    sizes = [np.abs(_flat(rows) - default) for block in prefixed for rows in block if rows is not None and examples]
    every = np.concatenate(sizes) if sizes else np.array([])
    every = every[np.isfinite(every)]
    return max(float(np.percentile(every, 95)) / UNIT, 0.1) if every.size else 1.0


def _flat(rows: Sequence[Values]) -> Float[np.ndarray, " token"]:
    return np.array([np.nan if v is None else v for row in rows for v in row], dtype=np.float64)


def _notes(
    arrays: TokenArrays,
    chosen: Sequence[int],
    sizes: Int64[np.ndarray, " example"],
    examples: Sequence[TokenExample],
    why: str,
    wrong: str,
    seed: int,
) -> list[str]:
    total = len(sizes)
    notes = [f"All {total} examples are in this page."]
    if len(chosen) < total:
        notes = [
            f"{len(chosen)} of {total} examples are in this page, drawn at random (seed {seed}); the store has all."
        ]
    if cut := sum(int(arrays.row_size[k] > sizes[k]) for k in chosen):
        notes.append(f"{cut} completions are cut after {MOST_TOKENS} tokens.")
    if examples and examples[0].token_ids is None:
        notes.append("The store has neither token ids nor texts of these completions: tokens are shown by position.")
    elif wrong:
        notes.append(
            f"The tokenizer does not decode the tokens of example {wrong} to its stored completion, so other tokens "
            "than its own are stored: token ids are shown instead of texts."
        )
    elif examples and examples[0].texts is None:
        notes.append(f"Token ids are shown instead of texts, since {why}; `inoc report --tokenizer` names one.")
    return notes
