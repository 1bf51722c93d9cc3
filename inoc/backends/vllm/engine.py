"""The only module that calls vLLM: an engine for one model, plain values in and out."""

import gc
import logging
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from jaxtyping import Float32

from inoc.backends.library_errors import first_line
from inoc.backends.model_files import load_config
from inoc.backends.vllm.adapters import Adapter
from inoc.backends.vllm.known_bad import CPU_HEAD_SIZE, CPU_HEAD_SIZES
from inoc.errors import BackendRejected, BackendUnavailable, BadInput
from inoc.values import Sampling, Scalar, TokenIds

if TYPE_CHECKING:
    from vllm import FlatLogprobs, RequestOutput

log = logging.getLogger("inoc.backends.vllm")

ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_LOGGING_STREAM": "ext://sys.stderr"}
"""Set before vLLM is imported unless the user has set them: no usage reports, warnings only, on stderr."""


@dataclass(frozen=True)
class Setup:
    """What one engine is started for; a different setup needs a new engine."""

    directory: str
    dtype: str
    embed: bool = False
    rank: int = 0
    """Largest adapter rank it can take; 0 takes none."""

    def serves(self, wanted: "Setup") -> bool:
        """Whether an engine of this setup can do what `wanted` asks for."""
        same = (self.directory, self.dtype, self.embed) == (wanted.directory, wanted.dtype, wanted.embed)
        return same and self.rank >= wanted.rank


class Scored(NamedTuple):
    """Logprobs and token ids of a prompt's last tokens, and how much of the prompt came from the cache."""

    logprobs: Float32[np.ndarray, " token"]
    token_ids: TokenIds
    cached: int


class Sampled(NamedTuple):
    """Sampled ids, a stop token at the end included, with the logprobs before temperature."""

    token_ids: TokenIds
    logprobs: Float32[np.ndarray, " token"]
    stopped: bool


class Draw(NamedTuple):
    """How to sample one completion."""

    prompt: TokenIds
    seed: int | None


class Engine:
    """vLLM's `LLM` for one setup."""

    def __init__(self, setup: Setup, arguments: Mapping[str, Scalar]) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self.setup = setup
        self.broken = False
        """A call was interrupted: its requests are still queued, so the engine must not be used again."""
        self._numbers: dict[str, int] = {}
        with _explained("start"):
            vllm = import_module("vllm")  # type checkers take `import vllm` for the package this file is in
            from vllm.platforms import current_platform

            given: dict[str, object] = {
                "model": setup.directory, "dtype": setup.dtype, "use_tqdm_on_load": False,
                "generation_config": "vllm", "trust_remote_code": False, "seed": 0, **arguments,
            }  # fmt: skip
            if current_platform.is_cpu():
                given |= _cpu_arguments(setup.directory, arguments)
            else:
                given.setdefault("gpu_memory_utilization", 0.85)
            if setup.rank:
                given |= {"enable_lora": True, "max_lora_rank": setup.rank}
            if setup.embed:
                from vllm.config import PoolerConfig

                pooler = PoolerConfig(pooling_type="MEAN", use_activation=True)
                given |= {"runner": "pooling", "convert": "embed", "pooler_config": pooler}
            self._llm = vllm.LLM(**given)
            self._settings = vllm.SamplingParams

    @property
    def block_size(self) -> int:
        """Tokens of one block of the prefix cache; only whole blocks are shared."""
        return int(self._llm.llm_engine.vllm_config.cache_config.block_size)

    def score(
        self, prompts: Sequence[TokenIds], tails: Sequence[int], adapter: Adapter | None, read_cache: bool
    ) -> list[Scored]:
        """The last `tails[i]` tokens of prompt i, each given all before it.

        With `read_cache` entries can be garbage: see `inoc.backends.vllm.score.acceptable`.
        """
        settings = self._settings(
            prompt_logprobs=0, max_tokens=1, temperature=0.0, detokenize=False, flat_logprobs=True, ignore_eos=True,
            skip_reading_prefix_cache=False if read_cache else None,
        )  # fmt: skip
        outputs = self._generate(prompts, [settings] * len(prompts), adapter)
        return [
            _last(output.prompt_logprobs, tail, int(output.num_cached_tokens or 0))
            for output, tail in zip(outputs, tails, strict=True)
        ]

    def sample(self, draws: Sequence[Draw], sampling: Sampling, adapter: Adapter | None) -> list[Sampled]:
        """One completion per draw."""
        settings = [
            self._settings(
                temperature=sampling.temperature, top_p=sampling.top_p, max_tokens=sampling.max_tokens, seed=draw.seed,
                stop_token_ids=list(sampling.stop_ids), ignore_eos=True, logprobs=0, detokenize=False,
                flat_logprobs=True,
            )
            for draw in draws
        ]  # fmt: skip
        results: list[Sampled] = []
        for output in self._generate([draw.prompt for draw in draws], settings, adapter):
            (best,) = output.outputs
            found = best.logprobs
            values = np.array([found.logprobs[start] for start in found.start_indices], np.float32)
            results.append(Sampled(tuple(int(token) for token in best.token_ids), values, best.finish_reason == "stop"))
        return results

    def embed(self, prompts: Sequence[TokenIds]) -> Float32[np.ndarray, "text feature"]:
        """Mean of the last hidden state over a prompt's tokens, length 1."""
        with _explained("embed"):
            outputs = self._llm.embed([{"prompt_token_ids": list(ids)} for ids in prompts], use_tqdm=False)
        vectors = np.array([output.outputs.embedding for output in outputs], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def close(self) -> None:
        """Free the memory, so that a new engine can start in this process."""
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        cleanup_dist_env_and_memory()
        gc.collect()

    def _generate(
        self, prompts: Sequence[TokenIds], settings: Sequence[object], adapter: Adapter | None
    ) -> "list[RequestOutput]":
        self.broken = True
        with _explained("compute"):
            requests = [{"prompt_token_ids": list(ids)} for ids in prompts]
            lora = None if adapter is None else self._lora(adapter)
            outputs = self._llm.generate(requests, settings, use_tqdm=False, lora_request=lora)
        self.broken = False
        return outputs

    def _lora(self, adapter: Adapter) -> object:
        """vLLM tells adapters apart by number: one number per content."""
        from vllm.lora.request import LoRARequest

        number = self._numbers.setdefault(adapter.name, len(self._numbers) + 1)
        return LoRARequest(adapter.name, number, adapter.path)


def _last(found: "FlatLogprobs", tail: int, cached: int) -> Scored:
    """The last `tail` positions of vLLM's flat logprobs; the prompt's own token is a position's first entry."""
    starts = found.start_indices[-tail:] if tail else []
    values = np.array([found.logprobs[start] for start in starts], np.float64)
    with np.errstate(over="ignore"):
        return Scored(values.astype(np.float32), tuple(int(found.token_ids[s]) for s in starts), cached)


def _cpu_arguments(directory: str, arguments: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Arguments with which a CPU engine samples with seeds; BackendRejected for a head size it lacks."""
    config = load_config(directory)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if size not in CPU_HEAD_SIZES:
        raise BackendRejected(f"the model has attention heads of size {size}. {CPU_HEAD_SIZE}")
    longest = int(cast(int, arguments.get("max_model_len")) or config.max_position_embeddings)
    step = max(longest, int(cast(int, arguments["max_num_batched_tokens"])))
    return {"enable_chunked_prefill": False, "max_num_batched_tokens": step}


@contextmanager
def _explained(doing: str) -> Generator[None]:
    """vLLM's errors as one sentence."""
    try:
        yield
    except (BackendRejected, BackendUnavailable, BadInput):
        raise
    except ImportError as error:
        raise BackendUnavailable(
            f"vLLM cannot be imported ({first_line(error)}). Fix: in an environment of its own, "
            "pip install -e '.[vllm]' in inoc's clone."
        ) from error
    except ValueError as error:
        raise BackendRejected(f"vLLM refuses to {doing}: {first_line(error)}") from error
    except Exception as error:
        raise BackendUnavailable(
            f"vLLM failed to {doing} ({type(error).__name__}: {first_line(error)}). Fix: if memory ran out, lower "
            "max_num_batched_tokens or gpu_memory_utilization; VLLM_LOGGING_LEVEL=INFO shows vLLM's log."
        ) from error
