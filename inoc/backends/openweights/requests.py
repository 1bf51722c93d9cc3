"""Scoring, sampling and embedding as jobs: what a job has computed or will compute is not submitted again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

import numpy as np
from jaxtyping import Float32

from inoc.backends.openweights import wire
from inoc.backends.openweights.command import REQUESTS
from inoc.backends.openweights.desk import Desk
from inoc.backends.protocols import ScoreRequest
from inoc.backends.requests import portions
from inoc.errors import BadResult
from inoc.values import Sampling

DIGEST = 8
"""Bytes that name a request in the index of a job."""
Asked = dict[int, list[wire.Request]]
"""Requests of this call by their number in a job."""


def run(
    desk: Desk, kind: Literal["score", "sample"], requests: Sequence[wire.Request], sampling: Sampling | None
) -> Iterator[wire.Result]:
    """Results of all requests, in the order in which jobs deliver them; BadResult for a job that lacks one."""
    if not requests:
        return
    names = desk.adapters(request.checkpoint for request in requests)
    base = desk.base(sampling)
    waiting: dict[bytes, list[wire.Request]] = {}
    for request in requests:
        waiting.setdefault(wire.digest(request, names), []).append(request)
    jobs, totals = find_computed(desk, kind, base, waiting)
    first = [group[0] for group in waiting.values()]
    for part in portions(first, lambda request: cost(request, sampling), desk.options.tokens_per_job):
        used = {r.checkpoint.location for r in part if r.checkpoint is not None}
        own = {location: name for location, name in names.items() if location in used}
        content = wire.pack_requests(desk.setup(sampling), part, names)
        digests = [wire.digest(request, names) for request in part]
        index = desk.service.upload(b"".join(digests), "index.bin")
        tokens = sum(cost(request, sampling) for request in part)
        job = desk.start(kind, {REQUESTS: content}, own, requests=len(part), tokens=tokens, base=base, index=index)
        jobs[job] = {number: waiting[digest] for number, digest in enumerate(digests)}
        totals[job] = len(part)
    answered: set[tuple[str, int]] = set()
    for event in desk.follow(list(jobs)):
        if event.kind != "part":
            continue
        asked = {number: group for number, group in jobs[event.job].items() if (event.job, number) not in answered}
        for number, result in wire.unpack_results(desk.service.content(event.data), asked, totals[event.job]):
            yield result
            answered.add((event.job, number))
    for job, asked in jobs.items():
        left = [group[0].id for number, group in asked.items() if (job, number) not in answered]
        if left:
            raise BadResult(f"the job {job} ended without {len(left)} of its results, the first: {left[0]}.")


def find_computed(
    desk: Desk, kind: str, base: str, waiting: dict[bytes, list[wire.Request]]
) -> tuple[dict[str, Asked], dict[str, int]]:
    """Earlier jobs that have or will have requested results, which are removed from `waiting`."""
    jobs: dict[str, Asked] = {}
    totals: dict[str, int] = {}
    for row in desk.service.find({"program": "inoc", "kind": kind, "base": base}):
        if row["status"] not in ("pending", "in_progress", "completed"):
            continue
        params = cast(Mapping[str, Mapping[str, object]], row["params"])["validated_params"]
        job, content = str(row["id"]), desk.service.file(str(params["index"]))
        found: Asked = {}
        for number in range(len(content) // DIGEST):
            group = waiting.pop(content[number * DIGEST : (number + 1) * DIGEST], None)
            if group is not None:
                found[number] = group
        if found:
            jobs[job], totals[job] = found, len(content) // DIGEST
            desk.found(row, f": {len(found):,} of its results are requested")
        if not waiting:
            break
    return jobs, totals


def cost(request: wire.Request, sampling: Sampling | None) -> int:
    """Tokens that a request computes, at most."""
    if isinstance(request, ScoreRequest):
        return len(request.context) + len(request.completion)
    assert sampling is not None
    return len(request.context) + sampling.max_tokens


def embed(desk: Desk, texts: Sequence[str]) -> Float32[np.ndarray, "text feature"]:
    """One unit vector per text."""
    content = wire.pack({**desk.setup(None), "texts": list(texts)}, {})
    tokens = sum(len(text) // 4 for text in texts)
    job = desk.start("embed", {REQUESTS: content}, {}, requests=len(texts), tokens=tokens, base=desk.base(None))
    vectors: np.ndarray | None = None
    for event in desk.follow([job]):
        if event.kind == "part":
            vectors = wire.unpack(desk.service.content(event.data)).arrays.get("vectors")
    if vectors is None or vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise BadResult(f"the job {job} did not send one finite vector for each of {len(texts)} texts.")
    return vectors.astype(np.float32)
