"""`--cluster`: two workers against one, and where the one process that writes is too slow for more.

By turns in one process on this machine, with `local:1` and `local:2`: scoring of the testbed study, the trainings of
the demo (cut to a few updates), the pass over tokens of the heuristics. *Efficiency* is the wall time with one worker
over twice that with two; the machine may be shared, so its load is printed. The command's own processor time per unit,
which includes dask's scheduler and the writing of the store, decides how many workers it can feed: a simulation takes
it to 1, 8, 64 and 512 workers.

    python -m benchmarks.scaling                  # some minutes; --write puts the tables into RESULTS.md
"""

import argparse
import heapq
import os
import pickle
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.store import write as write_store
from inoc.backends import check_scores
from inoc.backends.protocols import ScoreRequest, TokenLogprobs, TrainingJob
from inoc.cluster import Place, Pool, open_pool
from inoc.cluster.place import connected
from inoc.experiment import load_experiment
from inoc.heuristics.frame.table import measure
from inoc.plan import Study, plan_training
from inoc.stages.score import score
from inoc.stages.side_by_side import side_by_side
from inoc.store.store import open_store
from inoc.testbed import experiment_path

RESULTS = Path(__file__).parent / "RESULTS.md"
UPDATES = 4
SIMULATED = (1, 8, 64, 512)


@dataclass
class Took:
    """Wall seconds."""

    wall: float


def timed(work: Callable[[], object]) -> Took:
    wall = time.perf_counter()
    work()
    return Took(time.perf_counter() - wall)


def by_turns(one: Callable[[], object], two: Callable[[], object], rounds: int) -> list[tuple[Took, Took]]:
    return [(timed(one), timed(two)) for _ in range(rounds)]


def row(name: str, what: str, found: list[tuple[Took, Took]]) -> str:
    ratios = [one.wall / (2 * two.wall) for one, two in found]
    walls = [statistics.median(took[k].wall for took in found) for k in (0, 1)]
    return (
        f"| {name} | {what} | {walls[0]:.1f} | {walls[1]:.1f} | **{statistics.median(ratios):.2f}** "
        f"[{min(ratios):.2f}, {max(ratios):.2f}] |"
    )


def scoring(pools: list[Pool], folder: Path, rounds: int) -> str:
    experiment = load_experiment(experiment_path())
    tokens = 0

    def run(pool: Pool) -> None:
        nonlocal tokens
        with tempfile.TemporaryDirectory(dir=folder) as place:
            report = score(Study(experiment, pool, Path(place) / "s.zarr"), sets=["train"], prompts=["neutral"])
            tokens = report.tokens

    for pool in pools:
        run(pool)
    found = by_turns(lambda: run(pools[0]), lambda: run(pools[1]), rounds)
    return row("scoring", f"testbed, 5 prompts, {tokens:,} completion tokens", found)


def training(pools: list[Pool], folder: Path, rounds: int) -> str:
    experiment = load_experiment(experiment_path())
    plans = plan_training(Study(experiment, pools[0], folder / "t.zarr"))

    def run(pool: Pool) -> None:
        def events(job: TrainingJob) -> int:
            return len(list(pool.train(job)))

        with tempfile.TemporaryDirectory(dir=folder) as place:
            jobs = [
                replace(
                    plan.job, batches=plan.job.batches[:UPDATES], checkpoint_steps=(), questions=(),
                    directory=str(Path(place) / plan.run.name),
                )
                for plan in plans
            ]  # fmt: skip
            for _, done in side_by_side(pool, events, jobs):
                done.result()

    for pool in pools:
        run(pool)
    found = by_turns(lambda: run(pools[0]), lambda: run(pools[1]), rounds)
    return row("trainings", f"{len(plans)} runs of the demo, {UPDATES} updates each", found)


def heuristics(folder: Path, rounds: int, prompts: int, tokens: int) -> str:
    write_store(folder / "h.zarr", prompts, tokens)
    found: list[list[Took]] = []
    for n in (1, 2):  # dask's default client serves one cluster at a time
        with connected(Place(f"local:{n}")):
            work = lambda: measure(open_store(folder / "h.zarr"), tasks=8)
            work()
            found.append([timed(work) for _ in range(rounds)])
    return row("heuristics", f"{prompts} prompts x 2, {tokens:,} tokens", list(zip(*found, strict=True)))


def cost_of_a_unit(pool: Pool, folder: Path, examples: int = 1000, length: int = 352) -> float:
    """Processor seconds of the command for a unit of this size: contexts, requests, transport, checks, store."""
    study = Study(load_experiment(experiment_path()), pool, folder / "c.zarr")
    write_store(folder / "c.zarr", 1, examples * length)
    began = time.process_time()
    contexts = [study.chat.context(f"Question {i}?", "Answer playfully.") for i in range(examples)]
    asked = [ScoreRequest(str(i), context, tuple(range(length))) for i, context in enumerate(contexts)]
    sent = pickle.dumps(asked, 5)
    known = time.process_time() - began
    results = [TokenLogprobs(r.id, np.full(length, -1.0, np.float32), r.completion) for r in pickle.loads(sent)]  # noqa: S301
    received = pickle.dumps(results, 5)
    began = time.process_time()
    values = [r.logprobs for r in check_scores(asked, pickle.loads(received))]  # noqa: S301
    np.concatenate(values)
    return known + time.process_time() - began


def simulate(workers: int, units: int, work: float, own: float, spread: float, seed: int = 0) -> float:
    """Wall seconds of `units` tasks of `work` seconds (log-normal with this spread) on workers that one process feeds:
    it spends half of `own` seconds to send a unit and half to store it, and keeps two units with every worker."""
    draw = np.random.default_rng(seed)
    times = work * np.exp(spread * draw.standard_normal(units) - spread**2 / 2)
    free = [0.0] * workers
    heapq.heapify(free)
    under_way: list[float] = []
    clock, sent, stored = 0.0, 0, 0
    while stored < units:
        if sent < units and sent - stored < 2 * workers:
            clock += own / 2
            start = max(clock, heapq.heappop(free))
            end = start + float(times[sent])
            heapq.heappush(free, end)
            heapq.heappush(under_way, end)
            sent += 1
        else:
            clock = max(clock, heapq.heappop(under_way)) + own / 2
            stored += 1
    return clock


def simulated(cost: float, spread: float) -> list[str]:
    """Rows for units of 352,000 completion tokens (1000 examples), each `cost` seconds of the command."""
    tokens, units = 352_000, 4096
    rows = []
    for name, rate in (("0.5B on a CPU core, 100 tokens/s", 100.0), ("7B on one card, 10,000 tokens/s", 10_000.0)):
        work = tokens / rate
        alone = simulate(1, units, work, cost, spread)
        cells = " | ".join(f"{alone / (n * simulate(n, units, work, cost, spread)):.2f}" for n in SIMULATED)
        rows.append(f"| {name} | {work:,.0f} | {cost:.2f} | {cells} | {(work + cost) / cost:,.0f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=100, help="of the store of the heuristics")
    parser.add_argument("--tokens", type=int, default=100_000, help="of the store of the heuristics")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/RESULTS.md")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    spec, backend = load_experiment(experiment_path()).model_spec(), load_experiment(experiment_path()).backend.name
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        pools = [stack.enter_context(open_pool(backend, spec, Place(f"local:{n}"))) for n in (1, 2)]
        cost = statistics.median(cost_of_a_unit(pools[0], folder / f"{n}") for n in range(3))
        scored = scoring(pools, folder, given.rounds)
        print(f"{cost:.2f} s of the command for a unit\n{scored}", flush=True)
        trained = training(pools, folder, given.rounds)
        print(trained, flush=True)
        stack.close()
        pass_over = heuristics(folder, given.rounds, given.prompts, given.tokens)
        print(pass_over, flush=True)
    load.append(os.getloadavg()[0])
    columns = " | ".join(f"{n} worker{'s' * (n > 1)}" for n in SIMULATED)
    text = f"""## Several workers

`python -m benchmarks.scaling --rounds {given.rounds}`; {processor()},
{os.cpu_count()} cores; load {load[0]:.0f} before, {load[1]:.0f} after (a load of 1 is one busy core; **above 2 the
machine was shared**); one thread per worker; rounds by turns (heuristics: one after the other). Efficiency: wall time
with one worker / (2 x wall time with two), medians [min, max].

| what | size | 1 worker, s | 2 workers, s | efficiency |
|---|---|---|---|---|
{scored}
{trained}
{pass_over}

**One process feeds all workers.** A unit of 352,000 completion tokens (1000 examples) costs it {cost:.2f} s of
processor time: contexts, requests, transport, checks; dask's scheduler and the store's 0.02 s are not in it. Simulation
of 4096 units with that cost, each unit's time drawn with a spread of 20 %: efficiency over one worker, and the number
of workers at which the one process is busy all the time.

| worker | s of a unit | s of the command for it | {columns} | saturates at |
|---|---|---|{"---|" * len(SIMULATED)}---|
{chr(10).join(simulated(cost, 0.2))}
"""
    print(text)
    if given.write:
        before, _, rest = RESULTS.read_text().partition("## Several workers")
        following = rest.partition("\n## ")[2]
        RESULTS.write_text(before.rstrip() + "\n\n" + text + (f"\n## {following}" if following else ""))


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())


if __name__ == "__main__":
    main()
