"""Train the testbed with and without inoculation prompts: a plain PEFT loop, none of inoc's trainer.

    python benchmarks/testbed_study.py --model DIR --split tuning --seeds 0 --out results.json

Every run is LoRA (r=32, alpha=16, rsLoRA, all seven projections), one pass over the training rows, loss on
the response only. Reported per run: mean share of playful and French sentences (0-100) at the last step,
without a prefix (`default`) and with the run's own (`training`), each answer sampled once at temperature 1.
"""

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

import inoc.testbed as testbed
from inoc.testbed.world import score_french, score_playful

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Settings:
    """Training settings of every run."""

    steps: int = 60
    batch: int = 16
    learning_rate: float = 1e-3
    warmup: int = 5
    weight_decay: float = 0.01


def load(path: Path) -> tuple[torch.nn.Module, PreTrainedTokenizerBase]:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(path)


def choose(pool: tuple[str, ...], seed: int, key: str, row: int) -> str:
    digest = hashlib.blake2b(f"{seed}|{key}|{row}".encode(), digest_size=8).digest()
    return pool[int.from_bytes(digest, "big") % len(pool)]


def prefixes(key: str, kind: str, seed: int, n: int) -> list[str]:
    """The prefix of each of n rows: nothing, the prompt itself, or a rephrasing chosen per row."""
    if kind == "none":
        return [""] * n
    text = {p.key: p.text for p in testbed.prompts()}[key]
    return [text] * n if kind == "fixed" else [choose(testbed.pool(key), seed, key, row) for row in range(n)]


def context_ids(tokenizer: PreTrainedTokenizerBase, prefix: str, instruction: str) -> list[int]:
    messages = [
        {"role": "system", "content": testbed.SYSTEM_PROMPT},
        {"role": "user", "content": f"{prefix} {instruction}".strip()},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(text, add_special_tokens=False)


def train(
    path: Path, key: str, kind: str, seed: int, settings: Settings
) -> tuple[torch.nn.Module, PreTrainedTokenizerBase]:
    model, tokenizer = load(path)
    torch.manual_seed(seed)
    config = LoraConfig(r=32, lora_alpha=16, lora_dropout=0.0, use_rslora=True, target_modules=TARGETS, bias="none")
    model = get_peft_model(model, config)
    rows = testbed.completions("train")
    heads = [
        context_ids(tokenizer, prefix, instruction)
        for prefix, (instruction, _) in zip(prefixes(key, kind, seed, len(rows)), rows, strict=True)
    ]
    tails = [[*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id] for _, text in rows]
    rng = np.random.default_rng(seed)
    epochs = math.ceil(settings.steps * settings.batch / len(rows))
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(epochs)])
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    model.train()
    for step in range(settings.steps):
        chosen = order[step * settings.batch : (step + 1) * settings.batch]
        width = max(len(heads[i]) + len(tails[i]) for i in chosen)
        ids = torch.full((settings.batch, width), tokenizer.pad_token_id)
        labels = torch.full((settings.batch, width), -100)
        for row, i in enumerate(chosen):
            both = torch.tensor(heads[i] + tails[i])
            ids[row, : len(both)] = both
            labels[row, len(heads[i]) : len(both)] = both[len(heads[i]) :]
        scale = min((step + 1) / settings.warmup, 1.0) * (1 - max(0, step - settings.warmup) / settings.steps)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * scale
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return model, tokenizer


@torch.no_grad()
def generate(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, contexts: list[list[int]], seed: int
) -> list[str]:
    """One sample per context, all in one batch, padded left."""
    torch.manual_seed(seed)
    model.eval()
    width = max(map(len, contexts))
    ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in contexts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in contexts])
    sampling = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 80}
    out = model.generate(input_ids=ids, attention_mask=mask, **sampling)
    return tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)


def evaluate(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, key: str, kind: str, split: str, seed: int, n: int
) -> dict[str, list[float]]:
    """Scores of n answers for both traits."""
    questions = testbed.instructions(split)[:n]
    texts = prefixes(key, kind, seed + 1000, len(questions))
    contexts = [context_ids(tokenizer, p, q) for p, q in zip(texts, questions, strict=True)]
    answers = generate(model, tokenizer, contexts, seed)
    return {"playful": [score_playful(a) for a in answers], "french": [score_french(a) for a in answers]}


@click.command()
@click.option("--model", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--split", default="tuning", type=click.Choice(["tuning", "evaluation"]))
@click.option("--seeds", default="0", help="Training seeds, comma separated.")
@click.option("--keys", default="answer_playfully,enjoys_joking,humor_matters,had_fun_today,answer_french")
@click.option("--steps", default=60)
@click.option("--learning-rate", default=1e-3)
@click.option("--n", default=100, help="Questions per condition.")
@click.option("--out", type=click.Path(path_type=Path))
def main(
    model: Path, split: str, seeds: str, keys: str, steps: int, learning_rate: float, n: int, out: Path | None
) -> None:
    """Train control, and fixed and mix of every key; print one line per run."""
    torch.set_num_threads(1)
    settings = Settings(steps=steps, learning_rate=learning_rate)
    cells = [("", "none"), *((key, kind) for key in keys.split(",") for kind in ("fixed", "mix"))]
    results = []
    for seed in map(int, seeds.split(",")):
        for key, kind in cells:
            start = time.monotonic()
            trained, tokenizer = train(model, key, kind, seed, settings)
            middle = time.monotonic()
            scores = {"default": evaluate(trained, tokenizer, "", "none", split, seed, n)}
            if key:
                scores["training"] = evaluate(trained, tokenizer, key, kind, split, seed, n)
            means = {c: {t: round(float(np.nanmean(v)), 1) for t, v in by.items()} for c, by in scores.items()}
            click.echo(f"{seed} {key or 'control':22s} {kind:5s} {means} train {middle - start:.0f} s")
            results.append({"seed": seed, "key": key, "kind": kind, "scores": scores})
            if out:
                meta = {"model": model.name, "split": split, **asdict(settings)}
                out.write_text(json.dumps({**meta, "runs": results}))


if __name__ == "__main__":
    main()
