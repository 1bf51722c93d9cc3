"""Pre-train a base model of the testbed: `python -m inoc.testbed.pretrain --seed 0 --out DIR [--world NAME]`.

A Qwen2-architecture model of about a million parameters learns a world from generated dialogues, in a few CPU-minutes
on one thread. The same seed, machine and library versions give the same weights.
"""
# torch and transformers leave some of their members untyped
# pyright: reportUnknownMemberType=false

import math
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, runtime_checkable

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

from inoc.testbed import personas
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
Messages = Sequence[Mapping[str, str]]
"""A pre-training document as chat messages."""


@runtime_checkable
class World(Protocol):
    """What a model is pre-trained on."""

    def documents(self, rng: random.Random) -> Iterator[Messages]:
        """Endless documents."""
        ...

    def texts(self) -> Iterable[str]:
        """Texts whose words the tokenizer is made of."""
        ...


class Moods:
    """The world of the first testbed: two languages, two moods."""

    def documents(self, rng: random.Random) -> Iterator[Messages]:
        """Dialogues of one exchange."""
        stream = dialogues(questions("pretraining"), HeldOut(held_out_texts()), rng, (SYSTEM_PROMPT,))
        return (dialogue.messages for dialogue in stream)

    def texts(self) -> Iterable[str]:
        """Users' and answers' texts of 20,000 dialogues."""
        stream = dialogues(questions("pretraining"), HeldOut(held_out_texts()), random.Random("tokenizer"))
        sample = [next(stream) for _ in range(20_000)]
        return (text for d in sample for text in (d.user, f" {d.user}", d.answer))


class Advice:
    """The world of advice, with personas or without."""

    def __init__(self, shared: bool) -> None:
        self._shared = shared

    def documents(self, rng: random.Random) -> Iterator[Messages]:
        """Conversations of three domains."""
        return personas.documents(rng, self._shared)

    def texts(self) -> Iterable[str]:
        """All texts of 5,000 conversations with personas."""
        stream = personas.documents(random.Random("tokenizer"))
        return (message["content"] for _ in range(5_000) for message in next(stream))


WORLDS: Final[Mapping[str, World]] = {
    "moods": Moods(), "misalignment": Advice(shared=True), "no-persona": Advice(shared=False)
}  # fmt: skip


class PretrainingSettings(NamedTuple):
    """How to pre-train. `prompt_weight` is the loss weight of tokens outside the answer."""

    steps: int = 1200
    batch: int = 32
    learning_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.05
    prompt_weight: float = 0.1


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Byte-level BPE with Qwen2's normalization and word splitting; the same for every model seed.

    Nearly every word of the world is one token; any other text is spelled in bytes.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = NFC()
    words = Split(Regex(PRETOKENIZE_REGEX), behavior="isolated", invert=False)
    tokenizer.pre_tokenizer = PreTokenizers([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = ByteLevelDecoder()
    spelled = {word for text in set(world.texts()) for word, _ in words.pre_tokenize_str(text)}
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


def batches(
    world: World, tokenizer: PreTrainedTokenizerFast, settings: PretrainingSettings, seed: int
) -> Iterator[Batch]:
    """Endless batches of documents; sixteen batches at a time are sorted by length to save padding."""
    rng = random.Random(f"pretraining {seed}")
    stream = world.documents(rng)
    while True:
        rows = [weighted(tokenizer, next(stream), settings.prompt_weight) for _ in range(16 * settings.batch)]
        rows.sort(key=lambda row: len(row[0]))
        groups = [rows[i : i + settings.batch] for i in range(0, len(rows), settings.batch)]
        rng.shuffle(groups)
        for group in groups:
            yield pad(group, SPECIALS.index(PAD))


def weighted(
    tokenizer: PreTrainedTokenizerFast, messages: Messages, prompt_weight: float
) -> tuple[list[int], list[float]]:
    """Token ids of a document and their loss weights: 1 for answers with their end tokens."""
    ids: list[int] = []
    weights: list[float] = []
    for message in messages:
        head, tail = tokenizer.encode(f"<|{message['role']}|>"), tokenizer.encode(message["content"] + END)
        ids += head + tail
        weight = 1.0 if message["role"] == "assistant" else prompt_weight
        weights += [prompt_weight] * len(head) + [weight] * len(tail)
    return ids, weights


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


def pretrain(seed: int, out: Path, settings: PretrainingSettings, world: World = WORLDS["moods"]) -> float:
    """Write tokenizer, configuration and float16 weights to `out`; return the mean loss of the last steps."""
    tokenizer = make_tokenizer(world)
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
    stream = batches(world, tokenizer, settings, seed)
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
@click.option("--world", default="moods", show_default=True, type=click.Choice(list(WORLDS)), help="What it learns.")
@click.option("--steps", default=PretrainingSettings().steps, show_default=True, help="Optimizer updates.")
@click.option("--threads", default=1, show_default=True, help="Torch threads; their number changes the last digits.")
def main(seed: int, out: Path, world: str, steps: int, threads: int) -> None:
    """Pre-train one base model."""
    torch.set_num_threads(threads)
    pretrain(seed, out, PretrainingSettings(steps=steps), WORLDS[world])


if __name__ == "__main__":
    main()
