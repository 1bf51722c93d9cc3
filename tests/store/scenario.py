"""A small study written to a store step by step, the same every time; also a script that writes it in a process of
its own, kills itself on the way, and starts again. Shared by the tests of writing, damage and the golden store."""

import argparse
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from inoc import atomic
from inoc.errors import InocError
from inoc.store import PromptInfo, RunPlan, ScoreInfo, StoreWriter, Unit, files, marks, open_store, units
from inoc.store.change import COMMIT
from inoc.store.prefills import PrefillCounts
from inoc.store.probes import ProbePlan
from inoc.store.reader import Reader
from inoc.store.upgrade import upgrade
from inoc.store.validate import validate

ROWS = np.array([3, 0, 5, 1, 7])
PROMPTS = [
    PromptInfo("german", "Answer in German.", "de", "german", "positive"),
    PromptInfo("flatter", "Flatter the user — großzügig.", "fl", "flattering", "negative"),
    PromptInfo("sky", "The sky is blue.", "new", "neutral", "neutral"),
]
TRAITS = [ScoreInfo("German", "positive", "german"), ScoreInfo("Flattering", "negative", "flattering")]
KINDS = ("fixed", "mix")
IDENTITY = {"model": "tiny", "template": {"hash": "abc", "system": None}}
POOL = ["On German, please.", "Auf Deutsch!", ""]


def logprobs(unit: Unit, n: int) -> np.ndarray:
    """Values that follow from the unit alone; one of them missing."""
    seed = random.Random("/".join(unit)).getrandbits(32)
    values = -np.random.default_rng(seed).exponential(2.0, n).astype(np.float32)
    values[1] = np.nan
    return values


def scores(run: str, step: int, condition: str) -> np.ndarray:
    seed = random.Random(f"{run}/{step}/{condition}").getrandbits(32)
    values = np.random.default_rng(seed).uniform(0, 100, (2, 4))
    values[0, 0] = np.nan
    return values


def judgments(step: int, judge: str) -> np.ndarray:
    """What a judge says later of the answers at a step; one of them missing."""
    values = np.random.default_rng(step + len(judge)).uniform(0, 100, 4)
    values[3] = np.nan
    return values


def probed(kind: str, prompt: str) -> dict[str, np.ndarray]:
    """What a probe says of a unit."""
    n = float(len(kind) + len(prompt))
    return {"norm": np.array(n), "product": np.array([n, -n])}


COUNTS = PrefillCounts(
    checkpoint=(0, 4),
    prefill=(0, 2),
    behavior=("exploit",),
    question=("Frage 0?", ""),
    text=np.array([[["", ""], ["So ", "Grüße "]]] * 2),
    successes=np.arange(8).reshape(2, 2, 2, 1),
    trials=np.full((2, 2, 2, 1), 9),
    surprisal=np.array([np.nan, 1.5] * 4).reshape(2, 2, 2, 1),
    neg_kl=np.full((2, 2, 2, 1), np.nan),
    source="file",
    settings={"samples": 9},
)


def all_units(prompts: list[PromptInfo]) -> list[Unit]:
    return [Unit("train", "none", ""), *(Unit("train", k, p.key) for k in KINDS for p in prompts)]


def write(path: Path, *, small_chunks: bool = True) -> None:
    """Everything a store can hold, written in the order of a study, then grown by a prompt, a step and losses."""
    usual = units.MIN_TOKENS, units.MAX_TOKENS
    if small_chunks:
        units.MIN_TOKENS = units.MAX_TOKENS = 8
    try:
        _write(path)
    finally:
        units.MIN_TOKENS, units.MAX_TOKENS = usual


def _write(path: Path) -> None:
    with StoreWriter.open(
        path, identity=IDENTITY, experiment={"name": "tiny"}, provenance={"inoc": "0"}, traits=TRAITS
    ) as w:
        for known in (PROMPTS[:2], PROMPTS):
            w.put_prompts(known)
            w.put_completions(
                "train",
                example_ids=[f"e{i}" for i in range(len(ROWS))],
                row_size=ROWS,
                token_ids=np.arange(ROWS.sum()),
                instructions=[f"Frage {i}?" for i in range(len(ROWS))],
            )
            w.put_completions("control", example_ids=["a", "b"], completions=["", "Grüße"])
            keys = [p.key for p in known]
            w.plan("train", prefix_types=KINDS, prompts=keys, rephrasings=True)
            w.plan("control", prefix_types=["fixed"], prompts=keys[:1], level="example")
            for unit in all_units(known):
                picks = np.arange(len(ROWS)) % 2 if unit.prefix_type == "mix" else None
                w.put_unit(unit, logprobs(unit, int(ROWS.sum())), picks)
            for unit in (Unit("control", "none", ""), Unit("control", "fixed", "german")):
                w.put_unit(unit, logprobs(unit, 2), level="example")
            w.put_rephrasings({key: POOL for key in keys})
            w.put_elicitation(
                prompts=keys,
                traits=[t.name for t in TRAITS],
                instructions=["i0", "i1"],
                score=np.full((2, len(keys), 2), 40.0),
                baseline=np.full((2, 2), np.nan),
                judges=["judge-1", "judge-2"],
            )
            steps = [0, 4] if len(known) == 2 else [0, 4, 8]
            w.put_run(
                RunPlan(
                    "german_mix",
                    prompt="german",
                    prefix_type="mix",
                    traits=[t.name for t in TRAITS],
                    instructions=[f"q{i}" for i in range(4)],
                    steps=steps,
                    judges={"German": "judge-1", "Flattering": "judge-2"},
                    nominal_step=8,
                    settings={"learning_rate": 1e-4},
                    generations=True,
                )
            )
            for step in steps:
                texts = [f"Antwort {i} bei {step}" for i in range(4)]
                w.put_scores("german_mix", step, "default", scores("german_mix", step, "default"), generations=texts)
            for judge in ("judge-3", "judge-four"):
                for step in steps:
                    w.put_judgments(
                        "german_mix", step, "default", "German", judge, judgments(step, judge), np.full(4, 0.9)
                    )
            w.put_prefill_counts("german_mix", COUNTS)
            columns = {"example": ["a", "b"], "reference": ["train", "control"], "reference_norm": np.array([1.0, 2.0])}
            w.plan_probe(ProbePlan("gradient", {"examples": 2}, columns, ["norm", "product"], KINDS, keys))
            for kind, key in itertools.product(KINDS, keys):
                w.put_probe("gradient", kind, key, probed(kind, key))
            n = 2 * len(known)
            w.append_losses("german_mix", np.arange(1, n + 1), 1.0 / np.arange(1, n + 1))
        w.put_self_perplexity([p.key for p in PROMPTS], np.array([3.0, 2.0, np.nan]), np.array([2.0, 1.0, 1.5]))
        w.put_embeddings(
            [p.key for p in PROMPTS], np.eye(3, 4, dtype=np.float32), {"rephrase_mean": np.array([0.9, 0.8, 0.7])}
        )


def contents(path: Path) -> dict[str, object]:
    """Every attribute and every value of a store, as it is read (comparable with ==)."""
    stored = open_store(path)
    found: dict[str, object] = {"": dict(stored.root)}
    for node in sorted(p.parent for p in path.rglob("zarr.json")):
        where = str(node.relative_to(path))
        if where == "." or where.startswith(COMMIT):  # what it changes shows through the reader
            continue
        if json.loads((node / "zarr.json").read_bytes())["node_type"] == "group":
            found[where] = dict(stored.node(where))
        else:
            values = stored.read(where)
            found[where] = (str(values.dtype), values.shape, [repr(v) for v in values.ravel().tolist()])
    return found


def tree_bytes(path: Path) -> dict[str, bytes]:
    """Every file of a store."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def wrong_marks(path: Path) -> list[str]:
    """Units and evaluations that are marked done though their data are not what was written; other damage too."""
    if not (path / "zarr.json").exists():
        return []
    try:
        found = validate(path)
        stored = open_store(path)
        for name in stored.completion_sets:
            for level in stored.levels(name):
                arrays = stored.token_logprobs(name) if level == "token" else stored.example_logprobs(name)
                n = arrays.default.shape[0]
                for f, p in np.argwhere(arrays.done):
                    unit = Unit(name, arrays.prefix_types[f], arrays.prompts[p])
                    if not np.array_equal(arrays.prefixed[f, p], logprobs(unit, n), equal_nan=True):
                        found.append(f"{unit} is marked done and wrong")
                if arrays.default_done and not np.array_equal(
                    arrays.default[:], logprobs(Unit(name, "none", ""), n), equal_nan=True
                ):
                    found.append(f"default of {name} is marked done and wrong")
        for name in stored.subgroups("runs"):
            marks = stored.read(f"runs/{name}/unit_crc")
            steps, conditions = stored.read(f"runs/{name}/step"), stored.read(f"runs/{name}/condition")
            for s, c in np.argwhere(marks >= 0):
                right = scores(name, int(steps[s]), str(conditions[c]))
                if not np.array_equal(stored.read(f"runs/{name}/score")[s, c], right, equal_nan=True):
                    found.append(f"evaluation {name} {steps[s]} {conditions[c]} is marked done and wrong")
        for name in stored.subgroups("judgments"):
            steps, judges = stored.read(f"judgments/{name}/step"), stored.labels(f"judgments/{name}/judge")
            for s, c, j in np.argwhere(stored.read(f"judgments/{name}/score_crc") >= 0):
                right = judgments(int(steps[s]), judges[j])
                if not np.array_equal(stored.read(f"judgments/{name}/value")[s, c, j], right, equal_nan=True):
                    found.append(f"judgment {name} {steps[s]} {judges[j]} is marked done and wrong")
        for name in stored.subgroups("probes"):
            kinds, keys = (stored.labels(f"probes/{name}/{v}") for v in ("prefix_type", "prompt"))
            for f, p in np.argwhere(stored.read(f"probes/{name}/unit_crc") >= 0):
                right = probed(kinds[f], keys[p])
                if any(not np.array_equal(stored.read(f"probes/{name}/{v}")[f, p], right[v]) for v in right):
                    found.append(f"probe {name} {kinds[f]} {keys[p]} is marked done and wrong")
    except InocError as error:
        return [str(error)]
    return found


# the kill matrix: this process never writes itself, so that it can fork


def forked(work: Callable[[], object]) -> int:
    """Run in a child (which does not wait for the disk: a killed process loses nothing it has written)."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with atomic.without_flushing():
            work()
        code = 0
    finally:
        os._exit(code)


def ended(pid: int) -> bool:
    """Wait for a child; whether it ended by itself and well."""
    return os.waitpid(pid, 0)[1] == 0


def steps_of(place: Path) -> list[str]:
    """Names of all write steps, in order."""
    names = place / "steps.txt"

    def work() -> None:
        with names.open("w") as f:
            files.after_step = lambda name: print(name, file=f)
            write(place / "reference.zarr")

    assert ended(forked(work))
    return names.read_text().split()


def killed_at(n: int, change: Callable[[], object]) -> None:
    """Change a store with a SIGKILL after step n (from 0)."""

    def work() -> None:
        left = n

        def countdown(name: str) -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        files.after_step = countdown
        change()

    assert not ended(forked(work)), f"there is no step {n}"


def killed_after(path: Path, seconds: float) -> None:
    """Write with a SIGKILL after a time."""
    pid = forked(lambda: write(path))
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    ended(pid)


def swap_marker_and_data() -> None:
    """The mutant: markers are written before the data they vouch for."""
    put, mark = marks._put, marks._mark
    waiting: list[Callable[[], None]] = []

    def late(store: Reader, where: str, part: marks.Part) -> None:
        waiting.append(lambda: put(store, where, part))

    def first(variable: Path, cell: tuple[int, ...], value: int) -> None:
        mark(variable, cell, value)
        files.step("marker")
        while waiting:
            waiting.pop(0)()

    marks._put, marks._mark = late, first
    marks._hold = lambda store, group, parts: True


def upgrade_matrix(place: Path, source: Path, count: int) -> dict[str, object]:
    """Kill an upgrade of a store of an earlier schema after write steps; it must be the old store or the new one."""
    names, right, path = place / "steps.txt", place / "right.zarr", place / "killed.zarr"

    def record() -> None:
        with names.open("w") as f:
            files.after_step = lambda name: print(name, file=f)
            upgrade(right)

    def values(store: Path) -> dict[str, object]:
        return {k: v for k, v in contents(store).items() if isinstance(v, tuple) and not k.endswith("_crc")}

    shutil.copytree(source, right)
    before = values(source)
    assert ended(forked(record))
    steps, failures = names.read_text().split(), dict[str, object]()
    chosen = [n for n, _ in _chosen(steps, range(len(steps)), count)]
    for n in chosen:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(source, path)
        killed_at(n, lambda: upgrade(path))
        found = values(path)
        problems: list[object] = [*validate(path), *(name for name in before if found.get(name) != before[name])]
        if not ended(forked(lambda: upgrade(path))) or tree_bytes(path) != tree_bytes(right):
            problems.append("not byte-equal after the second run")
        if problems:
            failures[f"step {n}, {steps[n]}"] = problems
    return {"steps": len(steps), "points": len(chosen), "failures": failures}


def _chosen(steps: list[str], among: Sequence[int], count: int) -> list[tuple[int, str]]:
    """`count` steps (0 = all), spread over the names of steps."""
    if count:
        by_name = sorted(among, key=lambda n: (steps[n], n))
        among = sorted({by_name[round(i)] for i in np.linspace(0, len(by_name) - 1, count)})
    return [(n, steps[n]) for n in among]


def kill_points(steps: list[str], mode: str, count: int) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Where to kill: `count` steps (0 = all) spread over the names of steps, or `count` random times."""
    if mode == "times":
        for seconds in np.random.default_rng(0).uniform(0.0, 0.6, count):
            yield f"{seconds:.3f} s", lambda path, s=float(seconds): killed_after(path, s)
        return
    among = [n for n in range(len(steps)) if mode != "marker" or steps[n] == "marker"]
    for n, name in _chosen(steps, among, count):
        yield f"step {n}, {name}", lambda path, n=n: killed_at(n, lambda: write(path))


def matrix(place: Path, mode: str, count: int) -> dict[str, object]:
    """Kill at every point, look, resume, compare. Returns what went wrong, by point."""
    steps, path, copy = steps_of(place), place / "run.zarr", place / "copy.zarr"
    right = tree_bytes(place / "reference.zarr")
    failures: dict[str, list[str]] = {}
    points = 0
    for i, (name, kill) in enumerate(kill_points(steps, mode, count)):
        for p in (path, copy):
            shutil.rmtree(p, ignore_errors=True)
        kill(path)
        points += 1
        looked = path
        if i % 2 and path.exists():  # half of the time a reader comes first and may finish a change, half a writer
            looked = Path(shutil.copytree(path, copy))
        problems = wrong_marks(looked)
        if not ended(forked(lambda: write(path))):
            problems.append("the second run failed")
        elif (now := tree_bytes(path)) != right:
            differ = sorted(k for k in {*now, *right} if now.get(k) != right.get(k))
            problems.append(f"not byte-equal after resuming: {differ[:5]}")
        if problems:
            failures[name] = problems
    return {"steps": len(steps), "points": points, "failures": failures}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("--mode", choices=("steps", "marker", "times", "write"), default="write")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--upgrade", type=Path, help="kill upgrades of this store")
    parser.add_argument("--mutant", action="store_true")
    options = parser.parse_args()
    for module in ("zarr", "zarr.codecs", "zarr.storage"):
        importlib.import_module(module)
    if options.mutant:
        swap_marker_and_data()
    if options.upgrade:
        sys.stdout.write(json.dumps(upgrade_matrix(options.place, options.upgrade, options.count)))
    elif options.mode == "write":
        write(options.place)
    else:
        sys.stdout.write(json.dumps(matrix(options.place, options.mode, options.count)))
