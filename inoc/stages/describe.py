"""Stage `describe`: what the base model makes of the prompts themselves: self-perplexity and embeddings."""

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.backends import check_scores
from inoc.backends.protocols import Embedder, ScoreRequest
from inoc.chat import INSTRUCTION
from inoc.errors import BackendRejected
from inoc.experiment import Prompt, read_pools
from inoc.heuristics.maths.prompt_level import pool_statistics
from inoc.stages.progress import Unwatched, Watcher
from inoc.stages.score import scorer_of
from inoc.stages.study import Study
from inoc.values import TokenIds


def self_perplexity(study: Study) -> tuple[Float64[np.ndarray, " prompt"], Float64[np.ndarray, " prompt"]]:
    """-logprob per token (nats) of every prompt: (alone, as the first words of a user turn).

    Alone means after the tokenizer's BOS where it has one; else the first token, which nothing precedes, is not
    scored, and a prompt of one token is NaN.
    """
    chat, scorer = study.chat, scorer_of(study.backend)
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


def describe(study: Study, *, embeddings: bool = True, watcher: Watcher | None = None) -> None:
    """Store self-perplexity, and embeddings of the prompts with statistics of their pools where the backend embeds.

    The pool statistics of a prompt without a usable pool are NaN, which is said to the watcher, and are made when the
    pool is there. Raises BackendRejected where embeddings are asked for and the backend makes none, BadInput for a
    pool that cannot be read.
    """
    watcher = watcher or Unwatched()
    prompts = study.experiment.prompt_list()
    keys = [prompt.key for prompt in prompts]
    with study.open_writer() as writer:
        run = writer.run
        stored = run.self_perplexity
        if stored is None or {str(key) for key in stored["prompt"].values} < set(keys):
            watcher.begin("self-perplexity", 1)
            raw, context = self_perplexity(study)
            writer.put_self_perplexity(keys, raw, context)
            watcher.step("self-perplexity")
        if not embeddings:
            return
        backend = study.backend
        if not backend.capabilities.embed or not isinstance(backend, Embedder):
            raise BackendRejected(f"the backend {backend.name!r} makes no embeddings (`inoc backends`).")
        pools, notes, waiting = _waiting(study, run.embeddings)
        for note in notes:
            watcher.note(note)
        watcher.begin("embeddings", len(waiting))
        for prompt in waiting:
            pool = pools.get(prompt.key, ())
            vectors = np.asarray(backend.embed([prompt.text, *pool]), np.float32)
            columns = pool_statistics(vectors[0].astype(np.float64), vectors[1:].astype(np.float64))
            writer.put_embeddings(
                [prompt.key], vectors[:1], {name: np.array([value]) for name, value in columns.items()}
            )
            watcher.step(prompt.key)


def _waiting(
    study: Study, stored: xr.Dataset | None
) -> tuple[dict[str, tuple[str, ...]], list[str], list[Prompt]]:
    """Usable pools, a sentence for every prompt without one, and the prompts to embed: those not stored yet, and those
    stored without pool statistics whose pool is there now."""
    prompts, settings = study.experiment.prompt_list(), study.experiment.rephrasings
    known: dict[str, bool] = {}
    if stored is not None:
        keys = [str(key) for key in stored["prompt"].values]
        known = dict(zip(keys, np.isfinite(stored["rephrase_mean_cos"].values).tolist(), strict=True))
    lacking = [prompt for prompt in prompts if not known.get(prompt.key)]
    if settings is None:
        new = [prompt for prompt in lacking if prompt.key not in known]
        note = "the experiment has no `rephrasings`: the pool statistics of all prompts are missing (NaN)."
        return {}, [note] if new else [], new
    pools: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    for prompt in lacking:
        found, wrong = read_pools(study.experiment.resolve(settings.path), [prompt.key], settings.size)
        if wrong:
            notes.append(f"prompt {prompt.key!r}: its pool statistics are missing (NaN): {wrong[0]}")
        else:
            pools |= found
    return pools, notes, [prompt for prompt in lacking if prompt.key in pools or prompt.key not in known]
