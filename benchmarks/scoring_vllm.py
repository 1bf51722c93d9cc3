"""Completion tokens scored per second on a CPU: inoc's local scorer against vLLM in the same process.

(v) vLLM with plain prompt_logprobs; (vs) the backend `vllm` as it is: beginnings shared through vLLM's prefix cache,
every result verified. Same weights, same requests, one thread, processor time, interleaved.

    .venv-vllm/bin/python -m benchmarks.scoring_vllm        # after `make test-vllm`; about a minute
"""

import argparse
import os
import statistics

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
os.environ |= {"VLLM_HOST_IP": "127.0.0.1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}

import torch

from benchmarks.scoring import LONG, STUDY, TESTBED, Lengths, Scores, machine, make_requests, timed
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import ModelSpec, ScoreRequest
from inoc.backends.vllm import VllmBackend
from inoc.testbed import model_path


def by_vllm(backend: VllmBackend, requests: list[ScoreRequest], share: bool) -> Scores:
    """With an empty cache: what an earlier round left there would be read, found wanting and computed again."""
    backend.share_prefix = share
    if backend._engine is not None:
        backend._engine._llm.reset_prefix_cache()
    return {result.id: result.logprobs for result in backend.score(requests)}


def compare(local: LocalBackend, vllm: VllmBackend, lengths: Lengths, rounds: int) -> str:
    """One row of the table."""
    requests = make_requests(lengths, 60, 4, 1000)
    ways = {
        "ours": lambda: {result.id: result.logprobs for result in local.score(requests)},
        "plain": lambda: by_vllm(vllm, requests, False),
        "shared": lambda: by_vllm(vllm, requests, True),
    }
    timed(ways, 1)
    seconds, results = timed(ways, rounds)
    gap = max(
        abs(results["ours"][id] - values).max() for way in ("plain", "shared") for id, values in results[way].items()
    )
    tokens = sum(len(request.completion) for request in requests)
    rates = " | ".join(f"{tokens / statistics.median(seconds[way]):,.0f}" for way in ways)

    def ratio(way: str) -> str:
        found = [a / b for a, b in zip(seconds[way], seconds["ours"], strict=True)]
        return f"**{statistics.median(found):.1f}** [{min(found):.1f}, {max(found):.1f}]"

    ratios = f"{ratio('plain')} | {ratio('shared')}"
    return f"| testbed | {lengths.name} | {len(requests)} | {rates} | {ratios} | {gap:.0e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    model = str(model_path())
    local = LocalBackend.from_spec(ModelSpec(model, options={"device": "cpu"}))
    options = {"gpu_memory_utilization": 0.1, "enforce_eager": True, "block_size": 32}
    vllm = VllmBackend.from_spec(ModelSpec(model, options=options))
    list(vllm.score([ScoreRequest("start", (1, 2), (3,))]))
    torch.set_num_threads(1)
    print(f"{machine()}; {vllm.identity()['engine']}")
    print("| model | requests | count | inoc | (v) | (vs) | x (v) | x (vs) | largest difference |")
    print("|---|---|---|---|---|---|---|---|---|")
    for lengths in (TESTBED, STUDY, LONG):
        print(compare(local, vllm, lengths, rounds), flush=True)
    vllm.close()


if __name__ == "__main__":
    main()
