"""What one accelerator does, in under four minutes: heuristics, scoring, training, collectives, sampling.

    python -m benchmarks.gpu                   # a card; 7B shape in bfloat16, random weights
    python -m benchmarks.gpu --dry             # the same steps with tiny sizes on the CPU, to see that they run

A row for each step, with its wall time. A step that fails says why and stops no other.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from benchmarks.scoring import STUDY, machine, make_model, make_requests, matmul_rate, ours, useful_flops
from benchmarks.store import sizes
from inoc.backends.local import LocalBackend
from inoc.backends.local.engine import Engine
from inoc.backends.local.sample import sample
from inoc.backends.protocols import (
    AdapterSettings,
    ModelSpec,
    SampleRequest,
    TrainingExample,
    TrainingJob,
    TrainingStep,
)
from inoc.heuristics import heuristics
from inoc.heuristics.frame.registry import as_terms
from inoc.heuristics.tokens.one_pass import token_statistics
from inoc.values import Sampling


@dataclass(frozen=True)
class Size:
    device: str
    dtype: torch.dtype
    shape: str
    trained: str
    prompts: int
    tokens: int
    examples: int
    updates: int
    answers: int
    length: int


CARD = Size("cuda", torch.bfloat16, "7b", "0.5b", 1000, 65_536, 100, 10, 256, 128)
DRY = Size("cpu", torch.float32, "testbed", "testbed", 12, 4_000, 4, 2, 8, 8)


def seconds(size: Size, work: Callable[[], object]) -> float:
    """Wall seconds until the device is done."""
    begin = time.perf_counter()
    work()
    if size.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def pass_over_tokens(size: Size) -> str:
    """Both engines on one array; the JAX engine is compiled first."""
    import jax

    rng = np.random.default_rng(0)
    default = -rng.exponential(1, size.tokens).astype(np.float32)
    prefixed = default + rng.standard_normal((2, size.prompts, size.tokens), dtype=np.float32)
    terms = as_terms({name: one.token_term for name, one in heuristics().items() if one.token_term})
    found = {}
    for engine in ("jax", "jax", "numpy"):
        found[engine] = seconds(
            size,
            lambda engine=engine: token_statistics(
                default, prefixed, sizes(size.tokens), prefix_types=("fixed", "mix"),
                prompts=[str(p) for p in range(size.prompts)], terms=terms, engine=engine,
            ),
        )  # fmt: skip
    return (
        f"{size.prompts} prompts x 2 x {size.tokens:,} tokens: JAX on {jax.default_backend()} {found['jax']:.2f} s, "
        f"NumPy {found['numpy']:.2f} s"
    )


def scoring(size: Size) -> str:
    engine = Engine(make_model(size.shape, torch.device(size.device), size.dtype))
    requests = make_requests(STUDY, size.examples, 4, min(engine.vocabulary, 100_000))
    ours(engine, requests[::8], 32_768)
    took = seconds(size, lambda: ours(engine, requests, 32_768))
    tokens = sum(len(request.completion) for request in requests)
    share = useful_flops(engine, requests) / took / matmul_rate(size.dtype, 8192 if size.device == "cuda" else 512)
    return (
        f"{size.shape}, {size.dtype}: {tokens / took:,.0f} completion tokens/s, {share:.0%} of a large product's rate"
    )


def training(size: Size) -> str:
    rng = np.random.default_rng(0)
    examples = tuple(
        TrainingExample(str(i), tuple(rng.integers(5, 900, 200).tolist()), (0.0,) * 50 + (1.0,) * 150)
        for i in range(32)
    )
    with tempfile.TemporaryDirectory() as place:
        where = "testbed"
        if size.trained != "testbed":
            where = str(Path(place) / "model")
            make_model(size.trained, torch.device("cpu"), size.dtype).save_pretrained(where)
        dtype = "bfloat16" if size.dtype == torch.bfloat16 else "float32"
        batches = (tuple(range(32)),) * size.updates
        job = TrainingJob(
            "job", examples, batches, AdapterSettings(), optimizer="adamw", accumulation=4,
            directory=str(Path(place) / "run"),
        )  # fmt: skip
        backend, steps = LocalBackend(ModelSpec(where, dtype=dtype)), list[TrainingStep]()
        took = seconds(size, lambda: steps.extend(e for e in backend.train(job) if isinstance(e, TrainingStep)))
    return f"{size.trained}, LoRA: {size.updates * 32 * 200 / took:,.0f} tokens/s; losses finite: {all_finite(steps)}"


def all_finite(steps: list[TrainingStep]) -> bool:
    return bool(np.isfinite([step.loss for step in steps]).all())


def collectives(size: Size) -> str:
    """One process: that the library loads, meets and sums; not how fast cards talk."""
    kind = "nccl" if size.device == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as place:
        dist.init_process_group(kind, init_method=f"file://{place}/meeting", rank=0, world_size=1)
        try:
            value = torch.ones(1 << 24 if size.device == "cuda" else 1 << 10, device=size.device)
            dist.all_reduce(value)
            took = seconds(size, lambda: dist.all_reduce(value))
        finally:
            dist.destroy_process_group()
    return (
        f"{kind}, one process, {value.numel() * 4 / 1e6:.2f} MB: {took * 1e3:.2f} ms, right: {bool((value == 1).all())}"
    )


def sampling(size: Size) -> str:
    engine = Engine(make_model(size.shape, torch.device(size.device), size.dtype))
    rng = np.random.default_rng(0)
    requests = [SampleRequest(str(i), tuple(rng.integers(5, 900, 40).tolist())) for i in range(size.answers)]
    settings = Sampling(max_tokens=size.length)

    def answers(rows: int) -> int:
        return sum(len(done.token_ids) for done in sample(engine, requests, None, settings, rows=rows))

    rates: list[str] = []
    for rows in (64, 256):
        tokens: list[int] = []
        took = seconds(size, lambda rows=rows, tokens=tokens: tokens.append(answers(rows)))
        rates.append(f"{rows} rows {sum(tokens) / took:,.0f} tokens/s")
    return f"{size.shape}: {', '.join(rates)}"


STEPS = {
    "heuristics": pass_over_tokens, "scoring": scoring, "training": training, "collectives": collectives,
    "sampling": sampling,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--only", choices=tuple(STEPS), nargs="*", default=tuple(STEPS))
    given = parser.parse_args()
    size = DRY if given.dry else CARD
    if size.device == "cuda":
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch and JAX share the card
    print(f"{machine()}\n\n| step | result | wall s |\n|---|---|---|")
    failed = False
    for name in given.only:
        begin = time.perf_counter()
        try:
            result = STEPS[name](size)
        except Exception as error:  # a failing step must not cost the others their card
            failed, result = True, f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(f"| {name} | {result} | {time.perf_counter() - begin:.1f} |", flush=True)
        if size.device == "cuda":
            torch.cuda.empty_cache()
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
