"""A sound backend in NumPy: a language model of one layer that scores, samples, trains, resumes and probes in
milliseconds. Every step is a method of its own, so that a bug is a subclass with one of them changed.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import numpy as np

from inoc.backends.probing import (
    Activations,
    FirstTokens,
    Gradient,
    Probed,
    ProbeGroup,
    ProbeSpec,
    answer_start,
    refuse_impossible_probe,
)
from inoc.backends.protocols import (
    Capabilities,
    Checkpoint,
    Completion,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingEvent,
    TrainingExample,
    TrainingJob,
    TrainingStep,
)
from inoc.backends.requests import check_sampling, refuse_impossible
from inoc.backends.training import check_job, learning_rate
from inoc.errors import BadInput
from inoc.values import Sampling, Scalar

BOS, EOS, SIZE, WIDTH, RANK = 0, 1, 66, 16, 4
Weights = dict[str, np.ndarray]


class FakeTokenizer:
    """A character is a token (some share one); `<start>` and `<end>` begin and end a turn."""

    chat_template: str | None = "fake"
    bos_token_id = BOS
    eos_token_id: int | None = EOS

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: object) -> object:
        text = "".join(f"<start>{turn['role']}:{turn['content']}<end>" for turn in conversation)
        return text + ("<start>assistant:" if options.get("add_generation_prompt") else "")

    def encode(self, text: str, *, add_special_tokens: bool = True, split_special_tokens: bool = False) -> list[int]:
        if split_special_tokens:
            return [2 + ord(c) % 64 for c in text]
        turns = text.replace("<start>", "\x00").replace("<end>", "\x01")
        return [ord(c) if ord(c) < 2 else 2 + ord(c) % 64 for c in turns]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return "".join(chr(62 + token) for token in token_ids)

    def __len__(self) -> int:
        return SIZE


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


class FakeBackend:
    """The sound one."""

    name: ClassVar[str] = "fake"
    capabilities: ClassVar[Capabilities] = Capabilities(
        score=True, sample=True, train=True, probe=True, adapters=True, echoes_token_ids=True
    )
    context_length = 512

    def __init__(self) -> None:
        random = np.random.default_rng(7)
        self.tokenizer = FakeTokenizer()
        self.embedding = random.normal(0, 1, (SIZE, WIDTH))
        self.memory = random.normal(0, 1, (SIZE, WIDTH))
        self.output = random.normal(0, 0.4, (WIDTH, SIZE))

    @classmethod
    def from_spec(cls, model: ModelSpec) -> "FakeBackend":
        return cls()

    def identity(self) -> Mapping[str, Scalar]:
        return {"model": "fake", "dtype": "float32", "engine": "fake 1"}

    def check(self) -> None: ...

    def close(self) -> None: ...

    # the model

    def hidden(self, tokens: Sequence[int]) -> np.ndarray:
        """Every token of the context counts, by its place."""
        ids = np.array(tokens, np.int64)
        place = np.arange(len(ids))
        seen = np.cumsum(self.memory[ids] * (1 + 0.5 * np.cos(place))[:, None], axis=0)
        return self.embedding[ids] + seen / np.sqrt(place + 1)[:, None]

    def matrix(self, weights: Weights | None) -> np.ndarray:
        return self.output if weights is None else self.output + weights["scale"] * weights["a"] @ weights["b"]

    def distribution(self, hidden: np.ndarray, weights: Weights | None) -> np.ndarray:
        return log_softmax(hidden @ self.matrix(weights))

    def load(self, checkpoint: Checkpoint | None) -> Weights | None:
        if checkpoint is None or checkpoint.location is None:
            return None
        path = Path(checkpoint.location)
        if not path.is_file():
            raise BadInput(f"there are no weights at '{path}'. Fix: train again.")
        return dict(np.load(path))

    # scores and samples

    def logprobs(self, request: ScoreRequest) -> np.ndarray:
        tokens = self.seen(request.context) + request.completion
        start = len(tokens) - len(request.completion)
        rows = self.hidden(tokens[:-1])[start - 1 :]
        values = self.distribution(rows, self.load(request.checkpoint))
        return values[np.arange(len(rows)), list(request.completion)].astype(np.float32)

    def seen(self, context: tuple[int, ...]) -> tuple[int, ...]:
        """What the model sees of a context."""
        return context

    def refuse(self, requests: Sequence[ScoreRequest | SampleRequest], max_tokens: int = 0) -> None:
        refuse_impossible(requests, self.context_length, vocabulary=SIZE, max_tokens=max_tokens)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        self.refuse(requests)
        for request in requests:
            values = self.logprobs(request) if request.completion else np.zeros(0, np.float32)
            yield TokenLogprobs(request.id, values, request.completion)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        check_sampling(sampling)
        self.refuse(requests, sampling.max_tokens)
        for request in requests:
            yield self.complete(request, sampling)

    def complete(self, request: SampleRequest, sampling: Sampling) -> Completion:
        weights, uniform = self.load(request.checkpoint), self.stream(request, sampling)
        tokens, logprobs = list(self.seen(request.context)), []
        start = len(tokens)
        while len(tokens) - start < sampling.max_tokens:
            row = self.distribution(self.hidden(tokens)[-1], weights)
            token = self.draw(row, sampling, uniform.random())
            if token in sampling.stop_ids:
                break
            tokens.append(token)
            logprobs.append(self.said(row, sampling)[token])
        finish = self.finish(len(tokens) - start, sampling)
        return Completion(request.id, tuple(tokens[start:]), finish, np.array(logprobs, np.float32))

    def finish(self, length: int, sampling: Sampling):
        return "length" if length == sampling.max_tokens else "stop"

    def said(self, row: np.ndarray, sampling: Sampling) -> np.ndarray:
        """The log-probabilities that come with a sample."""
        return row

    def stream(self, request: SampleRequest, sampling: Sampling) -> np.random.Generator:
        key = f"{sampling.seed} {request.stream_name}".encode()
        return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8]))

    def draw(self, row: np.ndarray, sampling: Sampling, uniform: float) -> int:
        if sampling.temperature == 0:
            return int(row.argmax())
        p = np.exp(log_softmax(row / sampling.temperature))
        order = np.argsort(-p, kind="stable")
        p = p[order]
        p[np.cumsum(p) - p >= sampling.top_p] = 0
        return int(order[np.searchsorted(np.cumsum(p) / p.sum(), uniform, side="right")])

    # training

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        check_job(job, self.context_length)
        directory = Path(job.directory)
        directory.mkdir(parents=True, exist_ok=True)
        state, steps = self.resumed(directory) or (self.initial(job), [])
        keep = {*job.checkpoint_steps, len(job.batches)} - {0}
        for step in steps:
            yield step
            if step.step in keep:
                yield self.checkpoint(job, step.step)
        for number in range(len(steps) + 1, len(job.batches) + 1):
            before = {name: state[name].copy() for name in ("a", "b")}
            loss, norm = self.update(job, state, number)
            steps.append(
                TrainingStep(number, self.reported(job, state, before, number, loss), self.rate(job, number), norm)
            )
            if number in keep:
                self.save(job, number, state, before)
            if number % job.resume_every == 0 or number == len(job.batches):
                self.keep_state(directory, state, steps)
            yield steps[-1]
            if number in keep:
                yield self.checkpoint(job, number)
        self.finished(state)

    def initial(self, job: TrainingJob) -> Weights:
        start, zeros = self.load(job.start), {"m": np.zeros(1), "v": np.zeros(1), "updates": np.zeros(())}
        if start is not None:
            return start | zeros
        random = np.random.default_rng(job.seed)
        a, b = random.normal(0, WIDTH**-0.5, (WIDTH, RANK)), np.zeros((RANK, SIZE))
        return {"a": a, "b": b, "scale": np.array(job.adapter.scale), **zeros}

    def batch(self, job: TrainingJob, number: int) -> list[TrainingExample]:
        return [job.examples[i] for i in job.batches[number - 1]]

    def loss_weights(self, example: TrainingExample) -> np.ndarray:
        return np.array(example.weights[1:])

    def gradient(self, examples: Sequence[TrainingExample], state: Weights | None) -> tuple[float, np.ndarray, float]:
        """Sum of weighted losses, its gradient by the output matrix, and the sum of weights."""
        loss, total, gradient = 0.0, 0.0, np.zeros((WIDTH, SIZE))
        for example in examples:
            rows, targets = self.hidden(example.token_ids[:-1]), np.array(example.token_ids[1:])
            weights, logprobs = self.loss_weights(example), self.distribution(rows, state)
            loss -= float(weights @ logprobs[np.arange(len(targets)), targets])
            error = np.exp(logprobs)
            error[np.arange(len(targets)), targets] -= 1
            gradient += rows.T @ (weights[:, None] * error)
            total += float(weights.sum())
        return loss, gradient, total

    def pieces(self, batch: list[TrainingExample], job: TrainingJob) -> list[list[TrainingExample]]:
        size = -(-len(batch) // job.accumulation)
        return [batch[i : i + size] for i in range(0, len(batch), size)]

    def accumulated(self, job: TrainingJob, batch: list[TrainingExample], state: Weights) -> tuple[float, np.ndarray]:
        """Mean loss and gradient of a batch, in micro-batches."""
        parts = [self.gradient(piece, state) for piece in self.pieces(batch, job)]
        total = sum(part[2] for part in parts)
        return sum(part[0] for part in parts) / total, sum(part[1] for part in parts) / total

    def rate(self, job: TrainingJob, number: int) -> float:
        """The learning rate that is reported of update `number`."""
        return learning_rate(job, number - 1)

    def used_rate(self, job: TrainingJob, number: int) -> float:
        return learning_rate(job, number - 1)

    def update(self, job: TrainingJob, state: Weights, number: int) -> tuple[float, float]:
        loss, whole = self.accumulated(job, self.batch(job, number), state)
        scale = state["scale"]
        gradients = {"a": scale * whole @ state["b"].T, "b": scale * state["a"].T @ whole}
        norm = float(np.sqrt(sum((g**2).sum() for g in gradients.values())))
        flat = np.concatenate([gradients[name].ravel() for name in ("a", "b")]) * min(
            1.0, self.clip(job) / (norm + 1e-12)
        )
        state["updates"] = state["updates"] + 1
        t = float(state["updates"])
        state["m"] = 0.9 * state["m"] + 0.1 * flat
        state["v"] = 0.999 * state["v"] + 0.001 * flat**2
        step = state["m"] / (1 - 0.9**t) / (np.sqrt(state["v"] / (1 - 0.999**t)) + 1e-8)
        rate, size = self.used_rate(job, number), state["a"].size
        for name, part in (("a", step[:size]), ("b", step[size:])):
            decayed = state[name] * (1 - rate * self.decay(job))
            state[name] = decayed - rate * part.reshape(state[name].shape)
        return loss, norm

    def clip(self, job: TrainingJob) -> float:
        return job.max_grad_norm

    def decay(self, job: TrainingJob) -> float:
        return job.weight_decay

    def reported(self, job: TrainingJob, state: Weights, before: Weights, number: int, loss: float) -> float:
        """The loss that is reported of an update that ended in `state`."""
        return loss

    def save(self, job: TrainingJob, number: int, state: Weights, before: Weights) -> None:
        """Keep a checkpoint; `before` are the factors before the update."""
        np.savez(Path(job.directory) / f"step-{number}.npz", a=state["a"], b=state["b"], scale=state["scale"])

    def checkpoint(self, job: TrainingJob, number: int) -> Checkpoint:
        return Checkpoint(number, str(Path(job.directory) / f"step-{number}.npz"), job.adapter)

    def keep_state(self, directory: Path, state: Weights, steps: Sequence[TrainingStep]) -> None:
        np.savez(directory / "state.npz", **state)
        (directory / "steps.json").write_text(json.dumps([asdict(step) for step in steps]))

    def resumed(self, directory: Path) -> tuple[Weights, list[TrainingStep]] | None:
        if not (directory / "steps.json").is_file():
            return None
        rows = json.loads((directory / "steps.json").read_text())
        return dict(np.load(directory / "state.npz")), [TrainingStep(**row) for row in rows]

    def finished(self, state: Weights) -> None:
        """After the last update."""

    # inside

    def probe(
        self, spec: ProbeSpec, groups: Sequence[ProbeGroup], references: Sequence[ProbeGroup] = ()
    ) -> Iterator[Probed]:
        refuse_impossible_probe(spec, (*references, *groups), self.context_length)
        if spec.kind == "gradient":
            known = [self.group_gradient(spec, group) for group in references]
            for group in (*references, *groups):
                yield self.numbers(spec, group.id, self.group_gradient(spec, group), known)
            return
        for group in groups:
            if spec.kind == "logits":
                rows = [self.hidden(e.token_ids[: answer_start(e)])[-1] for e in group.examples]
                found = self.first_tokens(np.array(rows), self.load(spec.checkpoint))
                yield FirstTokens(group.id, found.astype(np.float32))
            else:
                layers = spec.layers or (1,)
                values = [[self.state(spec, e, layer) for layer in layers] for e in group.examples]
                yield Activations(group.id, layers, np.array(values, np.float32))

    def first_tokens(self, rows: np.ndarray, weights: Weights | None) -> np.ndarray:
        return self.distribution(rows, weights)

    def state(self, spec: ProbeSpec, example: TrainingExample, layer: int) -> np.ndarray:
        start = answer_start(example)
        states = self.hidden(example.token_ids) if layer else self.embedding[list(example.token_ids)]
        return states[start - 1] if spec.pooling == "prompt" else states[start:].mean(0)

    def mean_gradient(self, spec: ProbeSpec, examples: Sequence[TrainingExample]) -> np.ndarray:
        _, gradient, total = self.gradient(examples, self.load(spec.checkpoint))
        if spec.weights == "lora":
            gradient = np.random.default_rng(spec.seed).normal(size=(WIDTH, spec.rank)).T @ gradient
        return gradient.ravel() / total

    def group_gradient(self, spec: ProbeSpec, group: ProbeGroup) -> np.ndarray:
        found = self.mean_gradient(spec, group.examples)
        return found - self.mean_gradient(spec, group.less) if group.less else found

    def projection(self, spec: ProbeSpec, size: int) -> np.ndarray:
        return np.random.default_rng([spec.seed, 1]).normal(size=(spec.dimension, size)) / spec.dimension**0.5

    def numbers(self, spec: ProbeSpec, id: str, flat: np.ndarray, known: Sequence[np.ndarray]) -> Gradient:
        return Gradient(
            id,
            float(np.linalg.norm(flat)),
            np.array([flat @ other for other in known], np.float64),
            np.array([np.sign(flat) @ other for other in known], np.float64),
            (self.projection(spec, flat.size) @ flat).astype(np.float32),
        )
