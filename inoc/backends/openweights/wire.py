"""What is sent to a worker and back: NumPy archives without pickle, token ids as ragged arrays, the rest as JSON."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float32, Int
from pydantic import TypeAdapter

from inoc.backends.protocols import (
    Checkpoint,
    CheckpointQuestions,
    Completion,
    SampleRequest,
    ScoreRequest,
    TokenLogprobs,
    TrainingExample,
    TrainingJob,
)
from inoc.errors import BadResult
from inoc.hashing import canonical_json, content_hash
from inoc.values import TokenIds

Json = Mapping[str, object]
Arrays = Mapping[str, np.ndarray]
Request = ScoreRequest | SampleRequest
Result = TokenLogprobs | Completion


class Parcel(NamedTuple):
    """The content of one file."""

    meta: Json
    arrays: Arrays


def pack(meta: Json, arrays: Arrays) -> bytes:
    """One compressed archive; the same content gives the same bytes."""
    text = np.frombuffer(canonical_json(meta).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, meta=text, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def unpack(content: bytes) -> Parcel:
    """The content of `pack`; BadResult where it is damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays.pop("meta").tobytes())
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BadResult(f"a file of the job is damaged ({type(error).__name__}).") from None
    return Parcel(meta, arrays)


def ragged(name: str, rows: Sequence[TokenIds]) -> dict[str, np.ndarray]:
    """Rows of token ids as one flat array and the lengths of the rows."""
    size = np.array([len(row) for row in rows], np.int32)
    flat = np.fromiter((token for row in rows for token in row), np.int32, int(size.sum()))
    return {name: flat, f"{name}_size": size}


def rows_of(arrays: Arrays, name: str) -> list[Int[np.ndarray, " token"]]:
    """The rows of `ragged`; BadResult where lengths and values do not match."""
    return split(arrays[name], arrays[f"{name}_size"])


def split(flat: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """A flat array split into rows."""
    if flat.ndim != 1 or size.ndim != 1 or (size < 0).any() or int(size.sum()) != len(flat):
        raise BadResult("a file of the job has lengths that do not match its values.")
    ends = np.cumsum(size)
    return [flat[end - n : end] for end, n in zip(ends, size, strict=True)]


def ids(row: np.ndarray) -> TokenIds:
    return tuple(int(token) for token in row)


def named(checkpoint: Checkpoint | None, names: Mapping[str, str]) -> Checkpoint | None:
    """A checkpoint under the name of its adapter on the worker; None for the base model."""
    if checkpoint is None or checkpoint.location is None:
        return None
    return replace(checkpoint, location=names[checkpoint.location])


def digest(request: Request, names: Mapping[str, str]) -> bytes:
    """Eight bytes that identify a request by what its result depends on: token ids, weights, random stream."""
    where = named(request.checkpoint, names)
    asked = request.completion if isinstance(request, ScoreRequest) else request.stream_name
    return bytes.fromhex(content_hash(request.context, where and where.location, asked, digits=16))


def pack_requests(setup: Json, requests: Sequence[Request], names: Mapping[str, str]) -> bytes:
    """Requests of one kind without their ids, and `setup`. A text that several requests share is sent once.

    `names` has for every checkpoint's location the name of its adapter on the worker.
    """
    places, table = dict[Checkpoint | None, int]({None: -1}), dict[TokenIds, int]()
    numbers: dict[str, list[int]] = {"context": [], "checkpoint": []}
    streams: list[str] = []
    for request in requests:
        numbers["context"].append(table.setdefault(request.context, len(table)))
        numbers["checkpoint"].append(places.setdefault(named(request.checkpoint, names), len(places) - 1))
        if isinstance(request, ScoreRequest):
            numbers.setdefault("completion", []).append(table.setdefault(request.completion, len(table)))
        else:
            streams.append(request.stream_name)
    meta = {**setup, "checkpoints": [asdict(c) for c in places if c is not None], "streams": streams}
    arrays = {name: np.array(values, np.int32) for name, values in numbers.items()}
    return pack(meta, {**arrays, **ragged("text", list(table))})


def unpack_requests(parcel: Parcel, folder: str = "") -> tuple[Request, ...]:
    """The requests, each with its number as id; adapters are in `folder`."""
    texts = [ids(row) for row in rows_of(parcel.arrays, "text")]
    checkpoints = TypeAdapter(list[Checkpoint]).validate_python(parcel.meta["checkpoints"])
    places = [*(replace(c, location=f"{folder}{c.location}") for c in checkpoints), None]  # -1: the base model
    contexts, where = parcel.arrays["context"], parcel.arrays["checkpoint"]
    if "completion" in parcel.arrays:
        rows = zip(contexts, parcel.arrays["completion"], where, strict=True)
        return tuple(
            ScoreRequest(str(i), texts[int(c)], texts[int(a)], places[int(w)]) for i, (c, a, w) in enumerate(rows)
        )
    streams = cast(list[str], parcel.meta["streams"])
    return tuple(
        SampleRequest(str(i), texts[int(c)], places[int(w)], stream)
        for i, (c, w, stream) in enumerate(zip(contexts, where, streams, strict=True))
    )


def pack_results(results: Sequence[Result]) -> bytes:
    """Results whose ids are numbers, with their token ids."""
    arrays = ragged("token", [r.token_ids or () for r in results])
    values = [r.logprobs if r.logprobs is not None else np.zeros(0, np.float32) for r in results]
    arrays["value"] = np.concatenate([*values, np.zeros(0, np.float32)]).astype(np.float32)
    arrays["value_size"] = np.array([len(row) for row in values], np.int32)
    arrays["number"] = np.array([int(r.id) for r in results], np.int32)
    arrays["stopped"] = np.array([isinstance(r, Completion) and r.finish == "stop" for r in results], np.bool_)
    arrays["valued"] = np.array([r.logprobs is not None for r in results], np.bool_)
    return pack({"kind": "results"}, arrays)


def unpack_results(content: bytes, requests: Mapping[int, Sequence[Request]], total: int) -> list[tuple[int, Result]]:
    """Results with their number in the job and the ids of `requests`, by number in the job; others are left out.

    BadResult for a number of `total` (the job's requests) or more, or arrays that do not match.
    """
    arrays = unpack(content).arrays
    needed = {"number", "stopped", "valued", "token", "token_size", "value", "value_size"}
    if not needed <= arrays.keys():
        raise BadResult(f"a result file of the job lacks {', '.join(sorted(needed - arrays.keys()))}.")
    tokens, values = rows_of(arrays, "token"), split(arrays["value"], arrays["value_size"])
    numbers, stopped, valued = arrays["number"], arrays["stopped"], arrays["valued"]
    if not len(numbers) == len(tokens) == len(values) == len(stopped) == len(valued):
        raise BadResult("a result file of the job has lengths that do not match its values.")
    results: list[tuple[int, Result]] = []
    for i, row in enumerate(numbers):
        if not 0 <= row < total:
            raise BadResult(f"the job answered request {int(row)} of {total}.")
        logprobs = values[i].astype(np.float32) if valued[i] else None
        for request in requests.get(int(row), ()):
            results.append((int(row), _result(request, ids(tokens[i]), logprobs, bool(stopped[i]))))
    return results


def _result(request: Request, tokens: TokenIds, logprobs: np.ndarray | None, stopped: bool) -> Result:
    if isinstance(request, ScoreRequest):
        if logprobs is None or tokens != request.completion or len(logprobs) != len(tokens):
            raise BadResult(f"{request.id}: the job scored other token ids than requested.")
        return TokenLogprobs(request.id, logprobs, tokens)
    if logprobs is not None and len(logprobs) != len(tokens):
        raise BadResult(f"{request.id}: {len(logprobs)} log-probabilities for {len(tokens)} tokens.")
    return Completion(request.id, tokens, "stop" if stopped else "length", logprobs)


def pack_training(setup: Json, job: TrainingJob, names: Mapping[str, str]) -> bytes:
    """A training job without its directory and questions; `start` by its adapter's name."""
    start = named(job.start, names)
    rest = replace(job, directory="", examples=(), batches=(), questions=(), start=start)
    meta = {**setup, "job": asdict(rest), "examples": [example.id for example in job.examples]}
    arrays = ragged("token", [example.token_ids for example in job.examples])
    weights = [weight for example in job.examples for weight in example.weights]
    return pack(meta, {**arrays, **ragged("batch", job.batches), "weight": np.array(weights, np.float64)})


def unpack_training(parcel: Parcel, directory: str, folder: str = "") -> TrainingJob:
    """The job, to be kept in `directory`; the adapter it starts from is in `folder`."""
    meta, arrays = parcel
    weights = split(arrays["weight"], arrays["token_size"])
    names = cast(list[str], meta["examples"])
    examples = tuple(
        TrainingExample(name, ids(tokens), tuple(float(w) for w in row))
        for name, tokens, row in zip(names, rows_of(arrays, "token"), weights, strict=True)
    )
    job = TypeAdapter(TrainingJob).validate_python(meta["job"])
    start = job.start and replace(job.start, location=f"{folder}{job.start.location}")
    batches = tuple(ids(row) for row in rows_of(arrays, "batch"))
    return replace(job, examples=examples, batches=batches, directory=directory, start=start)


def pack_questions(questions: Sequence[CheckpointQuestions]) -> bytes:
    """All questions of a training, in order."""
    requests = [request for group in questions for request in group.requests]
    groups = [asdict(replace(group, requests=())) for group in questions]
    return pack_requests({"groups": groups, "sizes": [len(group.requests) for group in questions]}, requests, {})


def unpack_questions(content: bytes) -> tuple[CheckpointQuestions, ...]:
    """The groups; ids are numbers over all groups."""
    parcel = unpack(content)
    requests = iter(cast(tuple[SampleRequest, ...], unpack_requests(parcel)))
    groups = TypeAdapter(list[CheckpointQuestions]).validate_python(parcel.meta["groups"])
    sizes = TypeAdapter(list[int]).validate_python(parcel.meta["sizes"])
    return tuple(replace(group, requests=tuple(islice(requests, n))) for group, n in zip(groups, sizes, strict=True))


def pack_matrix(values: Float32[np.ndarray, "text feature"]) -> bytes:
    return pack({"kind": "embeddings"}, {"vectors": values})
