"""What the shipped prompts do to a base model of the testbed, as the Markdown table of docs/testbed.md.

    python benchmarks/testbed_base.py MODEL_DIR [MODEL_DIR ...]

Elicitation: mean share of playful and French sentences over the first 100 `tuning` questions, one answer each at
temperature 1, 95 % interval mean +/- 1.96 sd/sqrt(n). PH: mean over the first 100 training completions of the mean
token difference, in nats. Share: mean over the same completions of max|difference| / sum|difference|.
"""

import sys
from pathlib import Path

import click
import numpy as np
import torch
from testbed_study import context_ids, evaluate, load, prefixes

from inoc import testbed

N = 100


@torch.no_grad()
def logprobs(model, tokenizer, texts: list[str]) -> list[np.ndarray]:
    """Logprob of every token of the first N training completions, with a prefix each."""
    found = []
    for prefix, (instruction, completion) in zip(texts, testbed.completions("train"), strict=False):
        head = context_ids(tokenizer, prefix, instruction)
        tail = [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]
        table = model(input_ids=torch.tensor([head + tail])).logits[0, len(head) - 1 : -1].log_softmax(-1)
        found.append(table.gather(1, torch.tensor(tail)[:, None])[:, 0].double().numpy())
    return found


def level(values: list[float]) -> str:
    """Mean and 95 % interval."""
    x = np.array(values)
    half = 1.96 * np.nanstd(x, ddof=1) / np.sqrt(np.isfinite(x).sum())
    return f"{np.nanmean(x):.0f} [{max(np.nanmean(x) - half, 0):.0f}, {min(np.nanmean(x) + half, 100):.0f}]"


def main(paths: list[Path]) -> None:
    torch.set_num_threads(1)
    for path in paths:
        model, tokenizer = load(path)
        default = logprobs(model, tokenizer, [""] * N)
        click.echo(f"\n{path}\n\n| prompt | group | prefix | playful | french | PH | share |\n|{'---|' * 7}")
        for prompt in (None, *testbed.prompts()):
            key, group = (prompt.key, f"{prompt.family} {prompt.group}") if prompt else ("none", "")
            for kind in ("fixed", "mix") if prompt else ("none",):
                scores = evaluate(model, tokenizer, key, kind, "tuning", 0, N)
                row = [key, group, kind, level(scores["playful"]), level(scores["french"]), "", ""]
                if prompt:
                    prefixed = logprobs(model, tokenizer, prefixes(key, kind, 0, N))
                    deltas = [a - b for a, b in zip(prefixed, default, strict=True)]
                    row[5] = f"{np.mean([d.mean() for d in deltas]):+.3f}"
                    row[6] = f"{np.mean([np.abs(d).max() / np.abs(d).sum() for d in deltas]):.2f}"
                click.echo(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
