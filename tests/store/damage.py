"""Damages of a store, any number of them from a seed: every kind over every file, one file at a time.

`damages(store, earlier, seed)` yields damages; `snapshot` and `restore` put the files back. `earlier` is a copy of the
store made before its last change, the source of what is stale. `answers(store)` is everything a study reads.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inoc.store import open_store
from inoc.store.scored import judgments
from inoc.store.summary import summarize


class Damage(NamedTuple):
    """One damage: its kind, the file (path in the folder) and what to do."""

    kind: str
    file: str
    do: Callable[[], object]


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _swap(path: Path, other: Path) -> None:
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)


def damages(folder: Path, earlier: Path, seed: int) -> Iterator[Damage]:
    """Damages without end: file after file in random order, the kind drawn for each.

    Args:
        folder: The store, or any folder of files.
        earlier: The same folder at an earlier time.
        seed: Decides everything.
    """
    rng = random.Random(seed)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    while True:
        for path in rng.sample(files, len(files)):
            name = path.relative_to(folder).as_posix()
            old = earlier / name
            alike = [p for p in files if p != path and p.name == path.name and p.stat().st_size == path.stat().st_size]
            same_kind = [p for p in files if p != path and (p.name == "zarr.json") == (path.name == "zarr.json")]
            size = path.stat().st_size
            kinds: dict[str, Callable[[], object]] = {
                "bit flip": lambda path=path: _flip(path, rng),
                "truncate": lambda path=path, size=size: path.write_bytes(
                    path.read_bytes()[: rng.randrange(size or 1)]
                ),
                "grow": lambda path=path: path.write_bytes(path.read_bytes() + bytes(rng.randrange(1, 9))),
                "zero": lambda path=path, size=size: path.write_bytes(bytes(size)),
                "empty": lambda path=path: path.write_bytes(b""),
                "delete": lambda path=path: path.unlink(),
            }
            if old.is_file() and old.read_bytes() != path.read_bytes():
                kinds["stale"] = lambda path=path, old=old: path.write_bytes(old.read_bytes())
            if alike:
                twin = rng.choice(alike)
                kinds["swap"] = lambda path=path, other=twin: _swap(path, other)
            if same_kind:
                model = rng.choice(same_kind)
                kinds["duplicate"] = lambda path=path, other=model: path.write_bytes(other.read_bytes())
            kind = rng.choice(sorted(kinds))
            yield Damage(kind, name, kinds[kind])


def snapshot(folder: Path) -> dict[Path, bytes]:
    """Every file of a folder."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def restore(folder: Path, files: dict[Path, bytes]) -> None:
    """Put every file back."""
    for path in [p for p in folder.rglob("*") if p.is_file() and p not in files]:
        path.unlink()
    for path, content in files.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def answers(store: Path) -> str:
    """Everything a study reads from a store, as one text: summary, tables, scores, losses, every log-probability."""
    stored = open_store(store)
    found: dict[str, object] = {"summary": {**vars(summarize(stored)), "bytes_on_disk": 0}}
    tables = ("prompts", "elicitation", "scores", "losses", "self_perplexity", "embeddings")
    for name in tables:
        table = getattr(stored, name) if name != "prompts" or stored.has("prompts") else None
        found[name] = None if table is None else {str(k): _plain(v.values) for k, v in table.variables.items()}
    for name in stored.subgroups("completions"):
        found[f"completions {name}"] = {str(k): _plain(v.values) for k, v in stored.completions(name).variables.items()}
    for name, level in itertools.product(stored.completion_sets, ("token", "example")):
        if level in stored.levels(name):
            arrays = stored.token_logprobs(name) if level == "token" else stored.example_logprobs(name)
            found[f"{level} {name}"] = {k: _plain(np.asarray(v)) for k, v in arrays._asdict().items()}
            group = {"token": "logprobs", "example": "example_logprobs"}[level]
            if stored.has(f"{group}/{name}/rephrasing"):
                found[f"rephrasing {name}"] = _plain(stored.read(f"{group}/{name}/rephrasing"))
    found["runs"] = {name: vars(run) for name, run in stored.runs.items()}
    for name in stored.runs:
        if stored.has(f"runs/{name}/generation"):
            found[f"generation {name}"] = _plain(stored.read(f"runs/{name}/generation"))
        for key, judged in judgments(stored, name).items():
            found[f"judgments {name} {key}"] = [_plain(np.asarray(v)) for v in (judged.done, judged.value)]
    for name, counts in stored.emergence.items():
        found[f"emergence {name}"] = {str(k): _plain(v.values) for k, v in counts.variables.items()}
    for name in stored.subgroups("probes"):
        where = f"probes/{name}"
        found[f"probe {name}"] = {
            v: _plain(stored.read(f"{where}/{v}")) for v in stored.variables(where) if v != "unit_crc"
        }
    found["rephrasings"] = stored.rephrasings
    found["pending"] = [stored.pending(), stored.pending_evaluations()]
    return json.dumps(found, default=str, sort_keys=True)


def _plain(values: np.ndarray) -> list[str]:
    return [str(values.shape), *map(repr, values.ravel().tolist())]
