"""Pre-train the testbed's base model: `python -m inoc.testbed.pretrain --seed 0 --out DIR`.

A Qwen2-architecture model of about a million parameters learns the world from generated dialogues, in about
four CPU-minutes on one thread. The same seed, machine and library versions give the same weights.
"""
# torch and transformers leave some of their members untyped
# pyright: reportUnknownMemberType=false

import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import click
import torch
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from inoc.testbed.files import SYSTEM_PROMPT, held_out_texts, questions
from inoc.testbed.grammar import HeldOut, dialogues

PAD: Final = "<|endoftext|>"
END: Final = "<|end|>"
SPECIALS: Final = (PAD, END, "<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE: Final = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
CONTEXT: Final = 512
VOCABULARY: Final = 2048


class PretrainingSettings(NamedTuple):
    """How to pre-train. `prompt_weight` is the loss weight of tokens outside the answer."""

    steps: int = 1200
    batch: int = 32
    learning_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.05
    prompt_weight: float = 0.1


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with Qwen2's normalization and word splitting; the same for every model seed.

    Every word of the world is one token; any other text is spelled in bytes.
    """
    stream = dialogues(questions("pretraining"), HeldOut(held_out_texts()), random.Random("tokenizer"))
    sample = [next(stream) for _ in range(20_000)]
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = NFC()
    words = Split(Regex(PRETOKENIZE_REGEX), behavior="isolated", invert=False)
    tokenizer.pre_tokenizer = PreTokenizers([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = ByteLevelDecoder()
    texts = {text for d in sample for text in (d.user, f" {d.user}", d.answer)}
    spelled = {word for text in texts for word, _ in words.pre_tokenize_str(text)}
    alphabet, special = sorted(ByteLevel.alphabet()), list(SPECIALS)
    trainer = BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(sorted(spelled), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, unk_token=PAD, chat_template=TEMPLATE,
        additional_special_tokens=list(SPECIALS[2:]), model_max_length=CONTEXT, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    """The untrained model: 4 layers of width 128, 4 heads of 32, 2 key/value heads, tied embeddings."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=True, initializer_range=0.05,
        bos_token_id=None, eos_token_id=SPECIALS.index(END), pad_token_id=SPECIALS.index(PAD),
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )  # fmt: skip
    return Qwen2ForCausalLM(config)


class Batch(NamedTuple):
    """Right-padded token ids and the loss weight of every token, both [row, token]."""

    ids: torch.Tensor
    weights: torch.Tensor


def batches(tokenizer: PreTrainedTokenizerFast, settings: PretrainingSettings, seed: int) -> Iterator[Batch]:
    """Endless batches of dialogues; sixteen batches at a time are sorted by length to save padding."""
    rng = random.Random(f"pretraining {seed}")
    stream = dialogues(questions("pretraining"), HeldOut(held_out_texts()), rng, (SYSTEM_PROMPT,))
    while True:
        rows: list[tuple[list[int], list[float]]] = []
        for _ in range(16 * settings.batch):
            messages = next(stream).messages
            context = str(tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True))
            head = tokenizer.encode(context)
            tail = tokenizer.encode(messages[-1]["content"] + END)
            rows.append((head + tail, [settings.prompt_weight] * len(head) + [1.0] * len(tail)))
        rows.sort(key=lambda row: len(row[0]))
        groups = [rows[i : i + settings.batch] for i in range(0, len(rows), settings.batch)]
        rng.shuffle(groups)
        for group in groups:
            yield pad(group, SPECIALS.index(PAD))


def pad(rows: Sequence[tuple[list[int], list[float]]], pad_id: int) -> Batch:
    """Rows of (ids, weights) padded right to one length; padding has weight 0."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [pad_id] * (width - len(ids)) for ids, _ in rows])
    weights = torch.tensor([weights + [0.0] * (width - len(weights)) for _, weights in rows])
    return Batch(ids, weights)


def weighted_loss(model: Qwen2ForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean negative logprob over weighted tokens (a causal mask suffices: padding is on the right)."""
    logits = model(input_ids=batch.ids[:, :-1]).logits
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none")
    weights = batch.weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def rate(step: int, settings: PretrainingSettings) -> float:
    """Learning rate of an update: linear warm-up, then a cosine to a twentieth."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def pretrain(seed: int, out: Path, settings: PretrainingSettings) -> float:
    """Write tokenizer, configuration and float16 weights to `out`; return the mean loss of the last steps."""
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, seed)
    click.echo(f"{sum(p.numel() for p in model.parameters()):,} parameters", err=True)
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    recent: list[float] = []
    start = time.monotonic()
    stream = batches(tokenizer, settings, seed)
    model.train()
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, settings)
        loss = weighted_loss(model, next(stream))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent = [*recent[-99:], loss.item()]
        if (step + 1) % 100 == 0:
            seconds = time.monotonic() - start
            click.echo(
                f"step {step + 1}/{settings.steps}  loss {sum(recent) / len(recent):.4f}  {seconds:.0f} s", err=True
            )
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    return sum(recent) / len(recent)


@click.command()
@click.option("--seed", default=0, show_default=True, help="Seed of weights and data.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory to write.")
@click.option("--steps", default=PretrainingSettings().steps, show_default=True, help="Optimizer updates.")
@click.option("--threads", default=1, show_default=True, help="Torch threads; their number changes the last digits.")
def main(seed: int, out: Path, steps: int, threads: int) -> None:
    """Pre-train one base model."""
    torch.set_num_threads(threads)
    pretrain(seed, out, PretrainingSettings(steps=steps))


if __name__ == "__main__":
    main()
