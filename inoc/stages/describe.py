"""Stage `describe`: what the base model makes of the prompts themselves: self-perplexity and embeddings."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from inoc.backends import check_scores
from inoc.backends.protocols import Embedder, Scorer, ScoreRequest
from inoc.chat import INSTRUCTION
from inoc.experiment import Prompt, read_pools
from inoc.heuristics.maths.prompt_level import pool_statistics
from inoc.plan import Study
from inoc.stages.capable import capable
from inoc.stages.forecast import Forecast, Row
from inoc.stages.opening import existing, open_writer
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.store.store import Store
from inoc.values import TokenIds


def self_perplexity(study: Study) -> tuple[Float64[np.ndarray, " prompt"], Float64[np.ndarray, " prompt"]]:
    """The -logprob per token (nats) of every prompt: alone, and as the first words of a user turn.

    Alone means after the tokenizer's BOS where it has one; else the first token, which nothing precedes, is not
    scored, and a prompt of one token is NaN.
    """
    chat, scorer = study.chat, capable(study.backend, Scorer, "score")
    head_text = chat.render(INSTRUCTION).split(INSTRUCTION, 1)[0]
    head = tuple(chat.tokenizer.encode(head_text, add_special_tokens=False))
    first = chat.tokenizer.encode("", add_special_tokens=True)[:1]
    requests: list[ScoreRequest] = []
    keys = [prompt.key for prompt in study.experiment.prompt_list()]
    for prompt in study.experiment.prompt_list():
        ids: TokenIds = tuple(chat.tokenizer.encode(prompt.text, add_special_tokens=False))
        raw = (tuple(first), ids) if first else (ids[:1], ids[1:])
        requests.append(ScoreRequest(f"raw/{prompt.key}", *raw))
        requests.append(ScoreRequest(f"context/{prompt.key}", head, ids))
    asked = [request for request in requests if request.completion]
    found = {r.id: -float(r.logprobs.mean()) for r in check_scores(asked, scorer.score(asked))}
    return (
        np.array([found.get(f"raw/{key}", np.nan) for key in keys]),
        np.array([found.get(f"context/{key}", np.nan) for key in keys]),
    )


def describe(study: Study, *, embeddings: bool = True, watcher: Watcher = UNWATCHED) -> None:
    """Store the self-perplexity of the prompts, and their embeddings with statistics of their pools.

    The pool statistics of a prompt without a usable pool are NaN, which the watcher is told; they are made once the
    pool is there.
    """
    store = existing(study)
    keys = [prompt.key for prompt in study.experiment.prompt_list()]
    with open_writer(study, store, watcher, "describe") as writer:
        if not has_self_perplexity(study, store):
            watcher.begin("self-perplexity", 1)
            writer.put_self_perplexity(keys, *self_perplexity(study))
            watcher.step("self-perplexity")
        if not embeddings:
            return
        embedder = capable(study.backend, Embedder, "embed")
        waiting = plan_embeddings(study, store)
        for note in waiting.notes:
            watcher.note(note)
        watcher.begin("embeddings", len(waiting.prompts))
        for prompt in waiting.prompts:
            pool = waiting.pools.get(prompt.key, ())
            vectors = np.asarray(embedder.embed([prompt.text, *pool]), np.float32)
            columns = pool_statistics(vectors[0].astype(np.float64), vectors[1:].astype(np.float64))
            writer.put_embeddings(
                [prompt.key], vectors[:1], {name: np.array([value]) for name, value in columns.items()}
            )
            watcher.step(prompt.key)


def forecast_description(study: Study, embeddings: bool = True) -> Forecast:
    """What `inoc describe` would do: prompts by kind of description."""
    store = existing(study)
    prompts = study.experiment.prompt_list()
    n = len(prompts)
    encode = study.chat.tokenizer.encode
    there = has_self_perplexity(study, store)
    tokens = 0 if there else 2 * sum(len(encode(p.text, add_special_tokens=False)) for p in prompts)
    rows = [Row("self-perplexity", "prompts", n, n if there else 0, tokens)]
    if not embeddings:
        return Forecast("describe", tuple(rows))
    waiting = plan_embeddings(study, store)
    texts = [text for prompt in waiting.prompts for text in (prompt.text, *waiting.pools.get(prompt.key, ()))]
    tokens = sum(len(encode(text, add_special_tokens=False)) for text in texts)
    rows.append(Row("embeddings", "prompts", n, n - len(waiting.prompts), tokens, f"{len(texts)} texts to embed"))
    return Forecast("describe", tuple(rows), None, waiting.notes)


def has_self_perplexity(study: Study, store: Store | None) -> bool:
    """Whether the self-perplexity of every prompt is stored."""
    table = None if store is None else store.self_perplexity
    keys = {prompt.key for prompt in study.experiment.prompt_list()}
    return table is not None and keys <= {str(key) for key in table["prompt"].values}


class Embeddings(NamedTuple):
    """What is to be embedded: the prompts, their usable pools, and a sentence for every prompt without one."""

    prompts: tuple[Prompt, ...]
    pools: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def plan_embeddings(study: Study, store: Store | None) -> Embeddings:
    """Prompts that are not stored yet, and those stored without pool statistics whose pool is there now."""
    prompts, settings = study.experiment.prompt_list(), study.experiment.rephrasings
    table = None if store is None else store.embeddings
    known: dict[str, bool] = {}
    if table is not None:
        keys = [str(key) for key in table["prompt"].values]
        known = dict(zip(keys, np.isfinite(table["rephrase_mean_cos"].values).tolist(), strict=True))
    lacking = [prompt for prompt in prompts if not known.get(prompt.key)]
    if settings is None:
        new = tuple(prompt for prompt in lacking if prompt.key not in known)
        note = "the experiment has no `rephrasings`: the pool statistics of all prompts are missing (NaN)."
        return Embeddings(new, {}, (note,) if new else ())
    pools: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    for prompt in lacking:
        found, wrong = read_pools(study.experiment.resolve(settings.path), [prompt.key], settings.size)
        if wrong:
            notes.append(f"prompt {prompt.key!r}: its pool statistics are missing (NaN): {wrong[0]}")
        else:
            pools |= found
    wanted = tuple(prompt for prompt in lacking if prompt.key in pools or prompt.key not in known)
    return Embeddings(wanted, pools, tuple(notes))
