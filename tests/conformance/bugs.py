"""Backends, heuristics and judges that are wrong in one way each; the docstring says which.

Each has been seen in the wild, or differs by one word from what was.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from inoc.backends.protocols import (
    Completion,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingEvent,
    TrainingExample,
    TrainingJob,
    TrainingStep,
)
from inoc.backends.training import learning_rate
from inoc.errors import BadInput
from inoc.judge.lexical import LexicalJudge, sentence_share
from inoc.judge.protocols import JudgeRequest, Judgment
from inoc.store.imports import LogprobRow
from inoc.values import Sampling

from .fake import BOS, EOS, RANK, SIZE, WIDTH, FakeBackend, Weights, log_softmax

# ---------------------------------------------------------------- scores


class Shifted(FakeBackend):
    """every value belongs to the token before"""

    def logprobs(self, request: ScoreRequest) -> np.ndarray:
        return np.roll(super().logprobs(request), 1)


class CutCompletion(FakeBackend):
    """a completion is cut at 12 tokens"""

    def logprobs(self, request: ScoreRequest) -> np.ndarray:
        return super().logprobs(replace(request, completion=request.completion[:12]))


class Base2(FakeBackend):
    """logarithms to the base 2"""

    def distribution(self, hidden: np.ndarray, weights: Weights | None) -> np.ndarray:
        return super().distribution(hidden, weights) / math.log(2)

    def draw(self, row: np.ndarray, sampling: Sampling, uniform: float) -> int:
        return super().draw(row * math.log(2), sampling, uniform)


class Logits(FakeBackend):
    """logits without normalization"""

    def distribution(self, hidden: np.ndarray, weights: Weights | None) -> np.ndarray:
        logits = hidden @ self.matrix(weights)
        return logits - logits.max() - 1


class Tempered(FakeBackend):
    """scores at the sampling temperature of 0.7"""

    def logprobs(self, request: ScoreRequest) -> np.ndarray:
        rows = self.hidden((request.context + request.completion)[:-1])[len(request.context) - 1 :]
        values = log_softmax(self.distribution(rows, self.load(request.checkpoint)) / 0.7)
        return values[np.arange(len(rows)), list(request.completion)].astype(np.float32)


class FirstDropped(FakeBackend):
    """the first token of a context is dropped (taken for BOS)"""

    def seen(self, context: tuple[int, ...]) -> tuple[int, ...]:
        return context[1:] if len(context) > 1 else context


class BosAdded(FakeBackend):
    """BOS is added where a context lacks it"""

    def seen(self, context: tuple[int, ...]) -> tuple[int, ...]:
        return context if context[0] == BOS else (BOS, *context)


class CutContext(FakeBackend):
    """contexts are cut to their last 300 tokens, silently"""

    def seen(self, context: tuple[int, ...]) -> tuple[int, ...]:
        return context[-300:]


class CutRequest(FakeBackend):
    """a request that is too long is cut and not refused"""

    def refuse(self, requests: Sequence[ScoreRequest | SampleRequest], max_tokens: int = 0) -> None: ...


class SpecialDropped(FakeBackend):
    """a token that ends a turn inside a completion is not scored"""

    def logprobs(self, request: ScoreRequest) -> np.ndarray:
        kept = tuple(token for token in request.completion if token != EOS)
        found = super().logprobs(replace(request, completion=kept))
        return np.append(found, np.zeros(len(request.completion) - len(kept), np.float32))


class LeftPadded(FakeBackend):
    """padding of a batch is seen by the shorter requests"""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        width = max((len(r.context) for r in requests), default=0)
        padded = [replace(r, context=(*(EOS,) * min(3, width - len(r.context)), *r.context)) for r in requests]
        return super().score(padded)


class StaleCache(FakeBackend):
    """the cache of shared contexts is keyed by their length"""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        kept: dict[int, tuple[int, ...]] = {}
        return super().score([replace(r, context=kept.setdefault(len(r.context), r.context)) for r in requests])


class Mixed(FakeBackend):
    """results are sorted by length and given the ids of the unsorted requests"""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        by_length = sorted(requests, key=lambda r: (len(r.completion), len(r.context)))
        for request, result in zip(requests, super().score(by_length), strict=True):
            yield replace(result, id=request.id, token_ids=None)


class EmptyForgotten(FakeBackend):
    """a request with an empty completion is not answered"""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        return super().score([request for request in requests if request.completion])


class MeanRepeated(FakeBackend):
    """every token has the mean over the completion"""

    def logprobs(self, request: ScoreRequest) -> np.ndarray:
        found = super().logprobs(request)
        return np.full_like(found, found.mean())


# ---------------------------------------------------------------- samples


class OneStream(FakeBackend):
    """the random stream is keyed by the place in the batch"""

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        return super().sample([replace(r, stream=str(place)) for place, r in enumerate(requests)], sampling)


class IdStream(FakeBackend):
    """the random stream is keyed by the id although a stream is named"""

    def stream(self, request: SampleRequest, sampling: Sampling) -> np.random.Generator:
        return super().stream(replace(request, stream=None), sampling)


class Unseeded(FakeBackend):
    """the seed is ignored"""

    def stream(self, request: SampleRequest, sampling: Sampling) -> np.random.Generator:
        return np.random.default_rng()


class OneSeed(FakeBackend):
    """the engine's seed is taken, whatever is asked"""

    def stream(self, request: SampleRequest, sampling: Sampling) -> np.random.Generator:
        return super().stream(request, replace(sampling, seed=0))


class Hot(FakeBackend):
    """temperature is always 1.3"""

    def draw(self, row: np.ndarray, sampling: Sampling, uniform: float) -> int:
        return super().draw(row, replace(sampling, temperature=1.3) if sampling.temperature else sampling, uniform)


class NeverGreedy(FakeBackend):
    """temperature 0 is taken for the default of 1"""

    def draw(self, row: np.ndarray, sampling: Sampling, uniform: float) -> int:
        return super().draw(row, replace(sampling, temperature=sampling.temperature or 1.0), uniform)


class NoTopP(FakeBackend):
    """top_p is ignored"""

    def draw(self, row: np.ndarray, sampling: Sampling, uniform: float) -> int:
        return super().draw(row, replace(sampling, top_p=1.0), uniform)


class TopK(FakeBackend):
    """the engine's default top_k is on"""

    def draw(self, row: np.ndarray, sampling: Sampling, uniform: float) -> int:
        return super().draw(np.where(row >= np.sort(row)[-6], row, -1e9), sampling, uniform)


class AlwaysStop(FakeBackend):
    """finish is "stop" at the limit, too"""

    def finish(self, length: int, sampling: Sampling):
        return "stop"


class StopReturned(FakeBackend):
    """the stop token is returned"""

    def complete(self, request: SampleRequest, sampling: Sampling) -> Completion:
        done = super().complete(request, sampling)
        if done.finish == "length" or done.logprobs is None:
            return done
        last = np.append(done.logprobs, np.float32(-1))
        return replace(done, token_ids=(*done.token_ids, sampling.stop_ids[0]), logprobs=last)


class OneMore(FakeBackend):
    """max_tokens counts one token too few"""

    def complete(self, request: SampleRequest, sampling: Sampling) -> Completion:
        done = super().complete(request, replace(sampling, max_tokens=sampling.max_tokens + 1))
        return done if done.finish == "stop" else replace(done, finish="length")


class EndsOfItsOwn(FakeBackend):
    """the engine stops at line ends although nothing asks it to"""

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        return super().sample(requests, replace(sampling, stop_ids=(*sampling.stop_ids, *range(2, 12))))


class SampledLogprobs(FakeBackend):
    """logprobs of samples are those at the sampling temperature"""

    def said(self, row: np.ndarray, sampling: Sampling) -> np.ndarray:
        return log_softmax(row / (sampling.temperature or 1.0))


class Crowded(FakeBackend):
    """above 20 requests, rows are taken from the wrong place"""

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        asked = [replace(r, context=requests[place % 20].context) for place, r in enumerate(requests)]
        return super().sample(asked, sampling)


# ---------------------------------------------------------------- training


class LossAfter(FakeBackend):
    """the loss is that after the update"""

    def reported(self, job: TrainingJob, state: Weights, before: Weights, number: int, loss: float) -> float:
        return self.accumulated(job, self.batch(job, number), state)[0]


class ContextLearned(FakeBackend):
    """the loss is over the context, too"""

    def loss_weights(self, example: TrainingExample) -> np.ndarray:
        return np.ones(len(example.weights) - 1)


class ContextTaught(FakeBackend):
    """the gradient is over the context, too, and the loss is reported without it"""

    loss_weights = ContextLearned.loss_weights

    def reported(self, job: TrainingJob, state: Weights, before: Weights, number: int, loss: float) -> float:
        return FakeBackend().accumulated(job, self.batch(job, number), before | {"scale": state["scale"]})[0]


class WeightsRounded(FakeBackend):
    """weights are taken for a mask"""

    def loss_weights(self, example: TrainingExample) -> np.ndarray:
        return (np.array(example.weights[1:]) > 0).astype(float)


class OffByOneMask(FakeBackend):
    """the weights are shifted by one token"""

    def loss_weights(self, example: TrainingExample) -> np.ndarray:
        return np.array([*example.weights[2:], 0.0])


class Shuffled(FakeBackend):
    """the trainer shuffles the updates itself"""

    def batch(self, job: TrainingJob, number: int) -> list[TrainingExample]:
        order = np.random.default_rng(job.seed).permutation(len(job.batches))
        return [job.examples[i] for i in job.batches[order[number - 1]]]


class LastDropped(FakeBackend):
    """the last, smaller micro-batch is dropped"""

    def pieces(self, batch: list[TrainingExample], job: TrainingJob) -> list[list[TrainingExample]]:
        pieces = super().pieces(batch, job)
        return [piece for piece in pieces if len(piece) == len(pieces[0])][: max(1, len(pieces) - 1)]


class MeanOfMeans(FakeBackend):
    """the loss is the mean of the micro-batches' means"""

    def accumulated(self, job: TrainingJob, batch: list[TrainingExample], state: Weights) -> tuple[float, np.ndarray]:
        parts = [self.gradient(piece, state) for piece in self.pieces(batch, job)]
        return (
            float(np.mean([part[0] / part[2] for part in parts])),
            np.mean([part[1] / part[2] for part in parts], axis=0),
        )


class OnlyLastPiece(FakeBackend):
    """only the last micro-batch has a gradient; the loss is right"""

    def accumulated(self, job: TrainingJob, batch: list[TrainingExample], state: Weights) -> tuple[float, np.ndarray]:
        loss, _ = super().accumulated(job, batch, state)
        _, gradient, total = self.gradient(self.pieces(batch, job)[-1], state)
        return loss, gradient / total


class NoWarmup(FakeBackend):
    """the warm-up is reported and not done"""

    def used_rate(self, job: TrainingJob, number: int) -> float:
        return learning_rate(replace(job, warmup=0), number - 1)


class ConstantRate(FakeBackend):
    """the rate is reported as falling and stays"""

    def used_rate(self, job: TrainingJob, number: int) -> float:
        return learning_rate(job, number - 1) if number <= job.warmup else job.learning_rate


class RateOneLate(FakeBackend):
    """the schedule is one update ahead"""

    def used_rate(self, job: TrainingJob, number: int) -> float:
        return learning_rate(job, number)

    rate = used_rate


class OneInit(FakeBackend):
    """the seed of the adapter is ignored"""

    def initial(self, job: TrainingJob) -> Weights:
        return super().initial(replace(job, seed=0))


class RandomInit(FakeBackend):
    """two trainings of one job differ"""

    def initial(self, job: TrainingJob) -> Weights:
        return super().initial(replace(job, seed=int(np.random.default_rng().integers(1 << 30))))


class StartIgnored(FakeBackend):
    """training starts from the base model, not from the checkpoint"""

    def initial(self, job: TrainingJob) -> Weights:
        return super().initial(replace(job, start=None))


class CheckpointBefore(FakeBackend):
    """a checkpoint holds the weights before its update"""

    def save(self, job: TrainingJob, number: int, state: Weights, before: Weights) -> None:
        super().save(job, number, state | before, before)


class CheckpointsAlike(FakeBackend):
    """every checkpoint is the last one"""

    def checkpoint(self, job: TrainingJob, number: int):
        return replace(super().checkpoint(job, number), location=str(Path(job.directory) / "last.npz"))

    def save(self, job: TrainingJob, number: int, state: Weights, before: Weights) -> None:
        np.savez(Path(job.directory) / "last.npz", a=state["a"], b=state["b"], scale=state["scale"])


class OtherScale(FakeBackend):
    """the checkpoint says alpha / rank where the training used alpha / sqrt(rank)"""

    def save(self, job: TrainingJob, number: int, state: Weights, before: Weights) -> None:
        scale = np.array(job.adapter.alpha / job.adapter.rank)
        super().save(job, number, state | {"scale": scale}, before)


class HalfSaved(FakeBackend):
    """checkpoints are saved in 8 bits"""

    def save(self, job: TrainingJob, number: int, state: Weights, before: Weights) -> None:
        super().save(job, number, state | {name: np.round(state[name], 1) for name in ("a", "b")}, before)


class CheckpointMissing(FakeBackend):
    """only the last checkpoint is kept"""

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        return super().train(replace(job, checkpoint_steps=()))


class StepsFromZero(FakeBackend):
    """updates are counted from 0"""

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        for event in super().train(job):
            yield replace(event, step=event.step - 1) if isinstance(event, TrainingStep) else event


class StepsLost(FakeBackend):
    """every second loss is reported"""

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        for event in super().train(job):
            if not isinstance(event, TrainingStep) or event.step % 2 == 0:
                yield event


class LossSmoothed(FakeBackend):
    """losses are means over the updates so far"""

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        seen: list[float] = []
        for event in super().train(job):
            if isinstance(event, TrainingStep):
                seen.append(event.loss)
                event = replace(event, loss=float(np.mean(seen)))
            yield event


class StateDamaged(FakeBackend):
    """a resumed training starts from other weights than were kept"""

    def keep_state(self, directory: Path, state: Weights, steps: Sequence[TrainingStep]) -> None:
        if len(steps) == 2:
            random = np.random.default_rng(0)
            state = state | {"b": state["b"] + 0.01 * random.normal(size=state["b"].shape)}
        super().keep_state(directory, state, steps)


class OptimizerForgotten(FakeBackend):
    """a resumed training has forgotten the optimizer's state"""

    def resumed(self, directory: Path):
        found = super().resumed(directory)
        if found is None:
            return None
        return found[0] | {"m": np.zeros(1), "v": np.zeros(1), "updates": np.zeros(())}, found[1]


class NeverReplayed(FakeBackend):
    """a resumed training does not say again what was done"""

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        found = self.resumed(Path(job.directory))
        done = len(found[1]) if found else 0
        return (event for event in super().train(job) if event.step > done)


class BaseTouched(FakeBackend):
    """the adapter is merged into the base model"""

    def finished(self, state: Weights) -> None:
        self.output = self.matrix(state)


class NoClip(FakeBackend):
    """gradients are not clipped"""

    def clip(self, job: TrainingJob) -> float:
        return math.inf


class NoDecay(FakeBackend):
    """weight decay is not applied"""

    def decay(self, job: TrainingJob) -> float:
        return 0.0


class AnyJob(FakeBackend):
    """impossible jobs are trained as far as they can be"""

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        batches = tuple(batch for batch in job.batches if batch) or ((0,),)
        steps = tuple(step for step in job.checkpoint_steps if step <= len(batches))
        return super().train(replace(job, batches=batches, checkpoint_steps=steps))


# ---------------------------------------------------------------- adapters


class AdapterIgnored(FakeBackend):
    """requests are scored with the base model, whatever checkpoint they name"""

    def matrix(self, weights: Weights | None) -> np.ndarray:
        return self.output

    def gradient(self, examples: Sequence[TrainingExample], state: Weights | None):
        was, self.output = self.output, FakeBackend.matrix(self, state)
        try:
            return super().gradient(examples, state)
        finally:
            self.output = was


class AdapterSticks(FakeBackend):
    """an adapter stays active until another one is loaded"""

    active: Weights | None = None

    def load(self, checkpoint):
        self.active = super().load(checkpoint) or self.active
        return self.active

    def initial(self, job: TrainingJob) -> Weights:
        self.active = None
        return super().initial(job)


class AdapterStacks(FakeBackend):
    """adapters add up"""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: dict[str, np.ndarray] = {}

    def load(self, checkpoint):
        found = super().load(checkpoint)
        if found is None:
            self.loaded.clear()
            return None
        self.loaded[str(checkpoint.location)] = found["scale"] * found["a"] @ found["b"]
        return {"a": np.eye(WIDTH), "b": sum(self.loaded.values(), np.zeros((WIDTH, SIZE))), "scale": np.ones(())}

    def initial(self, job: TrainingJob) -> Weights:
        return FakeBackend().initial(job)


class OneAdapter(FakeBackend):
    """all requests of a call are scored with the first one's checkpoint"""

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[TokenLogprobs]:
        return super().score([replace(request, checkpoint=requests[0].checkpoint) for request in requests])


class SamplesOfBase(FakeBackend):
    """samples come from the base model"""

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        return super().sample([replace(request, checkpoint=None) for request in requests], sampling)


class LostIsBase(FakeBackend):
    """a checkpoint that is gone is taken for the base model"""

    def load(self, checkpoint):
        there = checkpoint is not None and checkpoint.location is not None and Path(checkpoint.location).is_file()
        return super().load(checkpoint) if there else None


# ---------------------------------------------------------------- probes


class SumNotMean(FakeBackend):
    """the gradient is of the sum over tokens"""

    def mean_gradient(self, spec, examples):
        _, gradient, _ = self.gradient(examples, None)
        if spec.weights == "lora":
            gradient = np.random.default_rng(spec.seed).normal(size=(WIDTH, spec.rank)).T @ gradient
        return gradient.ravel()


class LessIgnored(FakeBackend):
    """the gradient to subtract is not subtracted"""

    def group_gradient(self, spec, group):
        return super().group_gradient(spec, replace(group, less=()))


class OtherProjection(FakeBackend):
    """every call has a random projection of its own"""

    def projection(self, spec, size):
        return np.random.default_rng().normal(size=(spec.dimension, size)) / spec.dimension**0.5


class OneProjection(FakeBackend):
    """the seed of the projection is ignored"""

    def mean_gradient(self, spec, examples):
        return super().mean_gradient(replace(spec, seed=0), examples)

    def projection(self, spec, size):
        return super().projection(replace(spec, seed=0), size)


class LastOfAll(FakeBackend):
    """hidden states of the prompt are those of the last token of all"""

    def state(self, spec, example, layer):
        return self.hidden(example.token_ids)[-1] if spec.pooling == "prompt" else super().state(spec, example, layer)


class AlwaysPrompt(FakeBackend):
    """hidden states of the answer are those of the prompt"""

    def state(self, spec, example, layer):
        return super().state(replace(spec, pooling="prompt"), example, layer)


class LayerOff(FakeBackend):
    """layers are counted from the top"""

    def state(self, spec, example, layer):
        return super().state(spec, example, layer if len(spec.layers) < 2 else 1 - layer)


class FirstIsSecond(FakeBackend):
    """first tokens are unnormalized"""

    def first_tokens(self, rows, weights):
        return rows @ self.matrix(weights)


class ProbesTheBase(FakeBackend):
    """the base model is probed, whatever checkpoint is named"""

    def probe(self, spec, groups, references=()):
        return super().probe(replace(spec, checkpoint=None), groups, references)


class GradientOfTheBase(FakeBackend):
    """gradients are of the base model, whatever checkpoint is named"""

    def mean_gradient(self, spec, examples):
        return super().mean_gradient(replace(spec, checkpoint=None), examples)


class ProbeSticks(FakeBackend):
    """a checkpoint that was probed stays active"""

    def probe(self, spec, groups, references=()):
        self.probed = spec.checkpoint or getattr(self, "probed", None)
        return super().probe(replace(spec, checkpoint=self.probed), groups, references)


# ---------------------------------------------------------------- judges


def french() -> LexicalJudge:
    """The sound one."""
    return LexicalJudge("lexical:1:french", sentence_share(re.compile(r"\b(?:oui|bien sûr|est|la)\b", re.IGNORECASE)))


class JudgeBase:
    """The sound one, with a step to change."""

    identity = "lexical:1:french"

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Judgment]:
        for place, result in enumerate(french().judge(requests)):
            yield from self.change(place, len(requests), requests[place], result)

    def change(self, place: int, many: int, request: JudgeRequest, result: Judgment) -> Iterator[Judgment]:
        yield result


class JudgeShare(JudgeBase):
    """scores are on a scale of 0 to 1000"""

    def change(self, place: int, many: int, request: JudgeRequest, result: Judgment) -> Iterator[Judgment]:
        yield replace(result, score=10 * result.score)


class JudgeSkips(JudgeBase):
    """an empty response is not answered"""

    def change(self, place: int, many: int, request: JudgeRequest, result: Judgment) -> Iterator[Judgment]:
        if request.response.strip():
            yield result


class JudgeSilent(JudgeBase):
    """a response without a score has no reason"""

    def change(self, place: int, many: int, request: JudgeRequest, result: Judgment) -> Iterator[Judgment]:
        yield replace(result, error=None)


class JudgeRanks(JudgeBase):
    """scores depend on the batch"""

    def change(self, place: int, many: int, request: JudgeRequest, result: Judgment) -> Iterator[Judgment]:
        yield replace(result, score=result.score * min(1, many / 10))


class JudgeDrifts(JudgeBase):
    """scores depend on the place in the batch"""

    def change(self, place: int, many: int, request: JudgeRequest, result: Judgment) -> Iterator[Judgment]:
        yield replace(result, score=result.score * (1 - place / 1000))


class JudgeReads(JudgeBase):
    """a request without a question fails"""

    def change(self, place: int, many: int, request: JudgeRequest, result: Judgment) -> Iterator[Judgment]:
        assert request.instruction is not None
        yield result


class JudgeInverted(JudgeBase):
    """0 is most and 100 is least"""

    def change(self, place: int, many: int, request: JudgeRequest, result: Judgment) -> Iterator[Judgment]:
        yield replace(result, score=100 - result.score)


class JudgeNameless(JudgeBase):
    """another setting has the same identity"""


# ---------------------------------------------------------------- importers


class Table:
    """The sound one: example, prompt and mean of the logprobs, after a line that names them."""

    head = "example;prompt;mean"

    def sniff(self, paths: Sequence[Path]) -> bool:
        return all(self.begins(path).startswith(self.head.encode()) for path in paths)

    def begins(self, path: Path) -> bytes:
        with path.open("rb") as file:
            return file.read(100)

    def text(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise BadInput(f"{path} is not UTF-8 text. Fix: write it again.") from None

    def read(self, paths: Sequence[Path]) -> Iterator[LogprobRow]:
        for path in paths:
            for number, line in enumerate(self.text(path).splitlines()[1:], start=2):
                yield self.row(f"{path}, line {number}", line)

    def row(self, where: str, line: str) -> LogprobRow:
        try:
            example, prompt, mean = line.split(";")
            value = float(mean)
        except ValueError:
            raise BadInput(f"{where}: not three fields. Fix: write them.") from None
        return LogprobRow(example, [value], prompt, "fixed" if prompt else "none", mean=True, where=where)


class SniffsAll(Table):
    """it takes every text file for its own"""

    def sniff(self, paths: Sequence[Path]) -> bool:
        return True


class SniffFails(Table):
    """a look at a file that is not text fails"""

    def sniff(self, paths: Sequence[Path]) -> bool:
        return all(path.read_text(encoding="utf-8").startswith(self.head) for path in paths)


class SniffsFirst(Table):
    """only the first file is looked at"""

    def sniff(self, paths: Sequence[Path]) -> bool:
        return super().sniff(paths[:1])


class SkipsBadLines(Table):
    """lines that it cannot read are skipped"""

    def text(self, path: Path) -> str:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(line for line in lines if line.count(";") == 2 and "\x00" not in line)


class Traceback(Table):
    """a damaged file is an error of Python"""

    def row(self, where: str, line: str) -> LogprobRow:
        example, prompt, mean = line.split(";")
        return LogprobRow(example, [float(mean)], prompt, "fixed" if prompt else "none", mean=True, where=where)


class Nowhere(Table):
    """rows do not say where they come from"""

    def row(self, where: str, line: str) -> LogprobRow:
        return replace(super().row(where, line), where="a row")


class Positive(Table):
    """perplexities are taken for logprobs"""

    def row(self, where: str, line: str) -> LogprobRow:
        row = super().row(where, line)
        return replace(row, logprobs=[math.exp(-row.logprobs[0])])


class Forgets(Table):
    """a file is read once"""

    read_already: ClassVar[set[str]] = set()

    def read(self, paths: Sequence[Path]) -> Iterator[LogprobRow]:
        fresh = [path for path in paths if str(path) not in self.read_already]
        self.read_already.update(map(str, paths))
        return super().read(fresh)


class CarriesOver(Table):
    """an example is named after the file before"""

    def read(self, paths: Sequence[Path]) -> Iterator[LogprobRow]:
        for path in paths:
            for row in super().read([path]):
                yield replace(row, example_id=f"{paths[0].name} {row.example_id}")


class Rewrites(Table):
    """it tidies the files that it reads"""

    def text(self, path: Path) -> str:
        content = super().text(path)
        path.write_text(content.strip(), encoding="utf-8")
        return content


# ---------------------------------------------------------------- heuristics: name -> function, dims

SIDE = ("prefix_type", "prompt")


def zeros_for_nan(w: np.ndarray) -> np.ndarray:
    """what is missing counts as 0"""
    return np.nan_to_num(w).mean(-1)


def nan_for_one(w: np.ndarray) -> np.ndarray:
    """one missing prompt makes all NaN"""
    found = np.nanmean(w, -1)
    return found - found.mean()


def centered(w: np.ndarray) -> np.ndarray:
    """relative to the other prompts, and does not say so"""
    found = np.nanmean(w, -1)
    return found - np.nanmean(found)


def sorted_prompts(w: np.ndarray) -> np.ndarray:
    """prompts are sorted by value"""
    return np.sort(np.nanmean(w, -1), -1)


def changes_its_input(w: np.ndarray) -> np.ndarray:
    """centers its input in place"""
    w -= np.nanmean(w)
    return np.nanmedian(w, -1) + 0.0


def random_every_time(w: np.ndarray) -> np.ndarray:
    """draws without a seed"""
    return np.nanmean(w, -1) + np.random.default_rng().normal(0, 1e-3)


def wrong_dims(w: np.ndarray) -> np.ndarray:
    """prompts come before prefix types"""
    return np.nanmean(w, -1).T


def corrected_only(w: np.ndarray, recipe: str) -> np.ndarray:
    """fails under the recipe `published`"""
    if recipe == "published":
        raise ValueError("no")
    return np.nanmean(w, -1)


def never(w: np.ndarray) -> np.ndarray:
    """is NaN everywhere"""
    return np.full(w.shape[:2], np.nan)


HEURISTICS = (zeros_for_nan, nan_for_one, centered, sorted_prompts, changes_its_input, random_every_time, wrong_dims,
              corrected_only, never)  # fmt: skip


def _of(start: type, stop: type) -> tuple[type, ...]:
    """The classes of this module from one to another, in their order here."""
    found = [value for value in globals().values() if isinstance(value, type) and value.__module__ == __name__]
    return tuple(found[found.index(start) : found.index(stop) + 1])


SCORES = _of(Shifted, MeanRepeated)
SAMPLES = _of(OneStream, Crowded)
TRAINING = _of(LossAfter, AnyJob)
ADAPTERS = _of(AdapterIgnored, LostIsBase)
PROBES = _of(SumNotMean, ProbeSticks)
IMPORTERS = _of(SniffsAll, Rewrites)
JUDGES = _of(JudgeShare, JudgeNameless)
assert RANK < WIDTH
