"""Completion tokens scored per second: inoc's local scorer against two ways everyone writes first.

(a) one sequence at a time: all logits, log_softmax over all of them, gather;
(b) a plain batch: sequences in the given order padded on the right, an attention mask, all logits.

All three score the same requests with the same weights in one process, interleaved. On CPU one thread runs and its
processor time counts, not the clock's, because the machine may be shared. Requests are shaped like a study: one
system prompt, a few inoculation prompts, an instruction and a completion per example, tokens at random.

    python -m benchmarks.scoring                      # CPU, 2-3 minutes; --write puts the table into RESULTS.md
    python -m benchmarks.scoring --device cuda --shape 7b --dtype bfloat16

With --device cuda only inoc's scorer is timed, and its rate of useful arithmetic is set against the rate of a large
matrix product measured on the same card. Needs torch, transformers, peft, safetensors, numpy and jaxtyping; inoc need
not be installed when this is run from the repository's root.
"""

import argparse
import copy
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers

from inoc.backends.local.batches import group_by_shared_context, suffix_length
from inoc.backends.local.engine import Engine
from inoc.backends.local.score import score
from inoc.backends.protocols import ScoreRequest

Scores = dict[str, np.ndarray]
RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Lengths:
    """Tokens of the parts of a request; completions vary by two thirds."""

    name: str
    system: int
    prompt: int
    instruction: int
    completion: int


STUDY = Lengths("study: short prompts, long answers", 24, 10, 20, 150)
EVEN = Lengths("prompt, instruction and answer alike", 24, 40, 40, 40)
LONG = Lengths("long prompt, short answers", 24, 240, 20, 40)
TESTBED = Lengths("testbed", 14, 6, 12, 50)

SHAPES: dict[str, dict[str, int | bool]] = {
    "testbed": dict(vocab_size=1024, hidden_size=128, intermediate_size=384, num_hidden_layers=4,
                    num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True),
    "0.5b": dict(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                 num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True),
    "7b": dict(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28,
               num_attention_heads=28, num_key_value_heads=4, tie_word_embeddings=False),
}  # fmt: skip


def make_model(shape: str, device: torch.device, dtype: torch.dtype) -> transformers.PreTrainedModel:
    """Random weights in the shape of a Qwen2.5 model, or the testbed's real model where it is present."""
    if shape == "testbed":
        try:
            from inoc.testbed import model_path

            return transformers.AutoModelForCausalLM.from_pretrained(model_path(), dtype=dtype).to(device).eval()
        except (ImportError, OSError, ValueError):
            print("the testbed's model is not there: a random one of its size")
    config = transformers.Qwen2Config(**SHAPES[shape], max_position_embeddings=4096)
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def make_requests(lengths: Lengths, examples: int, prompts: int, vocabulary: int) -> list[ScoreRequest]:
    """Every example under every prompt; instructions and completions are the same under each."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(rng.integers(0, vocabulary, count).tolist())

    system, texts = draw(lengths.system), [draw(lengths.prompt) for _ in range(prompts)]
    instructions = [draw(max(1, int(lengths.instruction * rng.uniform(0.5, 1.5)))) for _ in range(examples)]
    completions = [draw(int(lengths.completion * rng.uniform(1 / 3, 5 / 3))) for _ in range(examples)]
    return [
        ScoreRequest(f"{p}-{i}", system + text + instruction, completion)
        for p, text in enumerate(texts)
        for i, (instruction, completion) in enumerate(zip(instructions, completions, strict=True))
    ]


@torch.inference_mode()
def one_by_one(model: transformers.PreTrainedModel, requests: list[ScoreRequest]) -> Scores:
    found: Scores = {}
    for request in requests:
        ids = torch.tensor([request.context + request.completion], device=model.device)
        logprobs = model(input_ids=ids).logits[0].float().log_softmax(-1)
        first = len(request.context) - 1
        rows = logprobs[first : first + len(request.completion)]
        target = torch.tensor(request.completion, device=rows.device)
        found[request.id] = rows.gather(1, target[:, None])[:, 0].cpu().numpy()
    return found


@torch.inference_mode()
def plain_batch(model: transformers.PreTrainedModel, requests: list[ScoreRequest], rows: int) -> Scores:
    found: Scores = {}
    for start in range(0, len(requests), rows):
        batch = requests[start : start + rows]
        sequences = [request.context + request.completion for request in batch]
        width = max(map(len, sequences))
        ids = torch.zeros(len(batch), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)], mask[row, : len(sequence)] = torch.tensor(sequence), 1
        logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
        logprobs = logits[:, :-1].float().log_softmax(-1)
        picked = logprobs.gather(2, ids[:, 1:, None].to(logprobs.device))[..., 0].cpu().numpy()
        for row, request in enumerate(batch):
            first = len(request.context) - 1
            found[request.id] = picked[row, first : first + len(request.completion)]
    return found


def ours(engine: Engine, requests: list[ScoreRequest], batch_tokens: int, share: bool = True) -> Scores:
    results = score(engine, requests, None, batch_tokens=batch_tokens, share_prefix=share)
    return {result.id: result.logprobs for result in results}


def clock() -> float:
    """Seconds: the device's on a GPU, else the processor time of this process."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def timed(ways: dict[str, Callable[[], Scores]], rounds: int) -> tuple[dict[str, list[float]], dict[str, Scores]]:
    """Seconds of every way in every round, interleaved; the first round's results."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Scores] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = clock()
            found = way()
            seconds[name].append(clock() - begin)
            results.setdefault(name, found)
    return seconds, results


def compare(shape: str, lengths: Lengths, examples: int, prompts: int, rounds: int) -> str:
    """One row of the table."""
    plain = make_model(shape, torch.device("cpu"), torch.float32)
    engine = Engine(copy.deepcopy(plain))
    requests = make_requests(lengths, examples, prompts, min(engine.vocabulary, 1000))
    ways: dict[str, Callable[[], Scores]] = {
        "one": lambda: one_by_one(plain, requests),
        "batch": lambda: plain_batch(plain, requests, 8 if engine.vocabulary > 10000 else 64),
        "ours": lambda: ours(engine, requests, 1024),
    }
    ours(engine, requests[:2], 512)
    seconds, results = timed(ways, rounds)
    gap = max(abs(results["ours"][id] - values).max() for id, values in results["one"].items())
    tokens = sum(len(request.completion) for request in requests)
    rates = " | ".join(f"{tokens / statistics.median(seconds[name]):,.0f}" for name in ways)

    def ratio(name: str) -> str:
        found = [a / b for a, b in zip(seconds[name], seconds["ours"], strict=True)]
        spread = f" [{min(found):.1f}, {max(found):.1f}]" if rounds > 1 else ""
        return f"**{statistics.median(found):.1f}**{spread}"

    least = naive_flops(engine, requests) / useful_flops(engine, requests)
    parts = f"{lengths.system}+{lengths.prompt}+{lengths.instruction}+{lengths.completion}"
    row = (
        f"| {shape} | {lengths.name} ({parts}) | {len(requests)} | {rates} "
        f"| {ratio('one')} | {ratio('batch')} | {least:.1f} | {gap:.0e} |"
    )
    print(row, flush=True)
    return row


def sizes(engine: Engine) -> tuple[int, int]:
    """Weights that every token passes, and those of the output layer."""
    head = engine.model.get_output_embeddings().weight.numel()
    embedding = 0 if engine.text_config.tie_word_embeddings else head
    return sum(weight.numel() for weight in engine.model.parameters()) - head - embedding, head


def naive_flops(engine: Engine, requests: list[ScoreRequest]) -> float:
    """Multiply-adds x 2 of (a): every token through everything."""
    body, head = sizes(engine)
    lengths = [len(request.context) + len(request.completion) for request in requests]
    config = engine.text_config
    attention = 4 * config.num_hidden_layers * config.hidden_size * sum(n * (n + 1) // 2 for n in lengths)
    return 2.0 * (body + head) * sum(lengths) + attention


def useful_flops(engine: Engine, requests: list[ScoreRequest]) -> float:
    """Multiply-adds x 2 that the result needs: a shared beginning once, no padding, few output rows."""
    body, head = sizes(engine)
    config, tokens, pairs = engine.text_config, 0, 0
    for group in group_by_shared_context(requests):
        tokens += group.shared
        for request in group.requests:
            own = suffix_length(request, group.shared)
            tokens += own
            pairs += own * group.shared + own * (own + 1) // 2
    attention = 4 * config.num_hidden_layers * config.hidden_size * pairs
    asked = sum(len(request.completion) for request in requests)
    return 2.0 * body * tokens + attention + 2.0 * head * asked


def matmul_rate(dtype: torch.dtype, size: int = 8192) -> float:
    """FLOP/s of a large matrix product on the device: the rate everything is measured against."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    begin = clock()
    for _ in range(20):
        a @ b
    return 20 * 2 * size**3 / (clock() - begin)


def on_gpu(shape: str, dtype: torch.dtype, rounds: int) -> None:
    engine = Engine(make_model(shape, torch.device("cuda"), dtype))
    rate = matmul_rate(dtype)
    print(f"a large matrix product: {rate / 1e12:.0f} TFLOP/s", flush=True)
    print("| model | requests | route | batch tokens | completion tokens/s | share of the product's rate |")
    print("|---|---|---|---|---|---|")
    for lengths in (STUDY, EVEN, LONG):
        requests = make_requests(lengths, 150, 4, 100_000)
        tokens = sum(len(request.completion) for request in requests)
        flops = useful_flops(engine, requests)
        ours(engine, requests[::8], 16384)
        for share in (True, False):
            for batch_tokens in (16384, 32768, 65536):
                one = partial(ours, engine, requests, batch_tokens, share)
                best = statistics.median(timed({"ours": one}, rounds)[0]["ours"])
                route = "shared" if share else "plain"
                print(
                    f"| {shape} {dtype} | {lengths.name} | {route} | {batch_tokens} "
                    f"| {tokens / best:,.0f} | {flops / best / rate:.0%} |",
                    flush=True,
                )


def write(rows: list[str], header: list[str]) -> None:
    """Replace the section "Scoring" of RESULTS.md, leaving the others."""
    text = RESULTS.read_text() if RESULTS.is_file() else "# Benchmark results\n"
    section = "\n".join(["## Scoring", "", *header, *rows, ""])
    before, _, after = text.partition("## Scoring")
    rest = after[after.find("\n## ") + 1 :] if "\n## " in after else ""
    RESULTS.write_text(before.rstrip() + "\n\n" + section + ("\n" + rest if rest else ""))


def machine() -> str:
    """The hardware and the versions in a line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return f"{name}, {os.cpu_count()} cores{gpu}; {versions}; {torch.get_num_threads()} thread(s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=tuple(SHAPES), default="7b", help="with --device cuda")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16", help="likewise")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    print(machine(), flush=True)
    if arguments.device == "cuda":
        on_gpu(arguments.shape, getattr(torch, arguments.dtype), arguments.rounds)
        return
    torch.set_num_threads(1)
    rows = [
        compare("testbed", TESTBED, 150, 4, arguments.rounds),
        compare("testbed", STUDY, 40, 4, arguments.rounds),
        compare("testbed", LONG, 40, 4, arguments.rounds),
        compare("0.5b", STUDY, 8, 1, 1),
        compare("0.5b", EVEN, 8, 1, 1),
        compare("0.5b", LONG, 8, 1, 1),
    ]
    if arguments.write:
        write(rows, header())


def header() -> list[str]:
    return [
        f"`python -m benchmarks.scoring`; {machine()}.",
        "Float32; random weights except the testbed's. GPU: not measured yet (`--device cuda`).",
        "Completion tokens per second of processor time (medians). x (a): against one sequence at a time; x (b):",
        "against a plain right-padded batch; medians of the rounds' ratios [min, max]. *Bound*: arithmetic of (a)",
        "over the arithmetic the result needs. Lengths: system + prompt + instruction + completion (mean), in tokens.",
        "",
        "A factor above the bound is the linear layers': (a) and (b) use torch's own (MKL: AVX-512 code on",
        "Intel processors only, 113 GFLOP/s of one thread here), inoc oneDNN's (250). Where prompts are short and",
        "answers long the bound is 1.2; larger factors come with long shared prompts. Not in the table: `inoc score`",
        "scores the default context once for all prompts, which halves the work of a study again.",
        "",
        "| model | requests | count | (a) | (b) | inoc | x (a) | x (b) | bound | largest difference to (a) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]


if __name__ == "__main__":
    main()
