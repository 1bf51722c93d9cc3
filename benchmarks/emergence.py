"""Forecasts of emergence on simulated cases: AUC, coverage of the final rate's interval, and time.

python -m benchmarks.emergence --replicates 300                # the simple predictors
python -m benchmarks.emergence --replicates 40 --processes processes.jsonl   # and the Gaussian processes

The file of the processes gets a line for each replicate and process: run again, the benchmark goes on where it stopped.
"""

import itertools
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from jaxtyping import Float64

from inoc import emergence
from inoc.emergence.fit import Posterior
from inoc.emergence.processes import Mean, Process
from inoc.emergence.simulation import CASES, EMERGE

SEEN = (2, 3, 4, 5, 6)
EMERGES = np.arange(CASES) < EMERGE
PREDICTORS = (
    "mean_neg_kl slope", "mean_neg_kl level", "kl_bound slope", "exploit_rate level", "log_exploit_lower_bound slope",
)  # fmt: skip

NAMES: tuple[Process, ...] = ("rate", "offset", "constrained")
FITS: tuple[tuple[Mean, Posterior], ...] = (
    ("constant", "draws"), ("constant", "laplace"), ("linear", "draws"), ("tanh", "draws"),
)  # fmt: skip
PROCESSES: tuple[tuple[str, emergence.Settings, Posterior], ...] = tuple(
    (f"{name}, {mean}, {posterior}", emergence.Settings(name, mean), posterior)
    for name in NAMES
    for mean, posterior in FITS
)


class Replicate(NamedTuple):
    """One simulated table under one process, by checkpoints seen."""

    auc: list[float]
    coverage: list[float]
    width: list[float]


def simple(replicates: int) -> dict[str, Float64[np.ndarray, "replicate seen"]]:
    """AUC of the simple predictors."""
    found = {name: np.zeros((replicates, len(SEEN))) for name in PREDICTORS}
    for seed, (k, seen) in itertools.product(range(replicates), enumerate(SEEN)):
        table = emergence.simulate(seed)
        checkpoint, values = table["checkpoint"].values[:seen], emergence.metrics(table)
        for name, rows in found.items():
            metric, kind = name.split()
            part = values[metric].values[:, :seen]
            rows[seed, k] = emergence.auc(
                part[:, -1] if kind == "level" else emergence.slope(part, checkpoint), EMERGES
            )
    return found


def process(seed: int, settings: emergence.Settings, posterior: Posterior) -> Replicate:
    """AUC of the forecast logit, coverage of the final rate, median width of the interval in logits."""
    table, found = emergence.simulate(seed), Replicate([], [], [])
    truth = table["logit"].values[:, -1]
    for seen in SEEN:
        ahead = emergence.forecast(table, seen=seen, settings=settings, posterior=posterior)
        lower, upper = (np.log(ahead[end].values / (1 - ahead[end].values)) for end in ("lower", "upper"))
        found.auc.append(emergence.auc(ahead["logit"].values, EMERGES))
        found.coverage.append(float(((lower <= truth) & (truth <= upper)).mean()))
        found.width.append(float(np.median(upper - lower)))
    return found


def kept(file: Path) -> dict[tuple[str, int], Replicate]:
    """The lines of the file; one that a kill cut short is made again."""
    found: dict[tuple[str, int], Replicate] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[row["process"], row["seed"]] = Replicate(row["auc"], row["coverage"], row["width"])
    return found


def table_row(name: str, replicates: Sequence[Replicate]) -> str:
    """A line of the table in docs/emergence.md, and the largest standard error of a coverage in points."""
    auc, coverage = (np.array([getattr(r, what) for r in replicates]).mean(axis=0) for what in ("auc", "coverage"))
    width = np.median([r.width for r in replicates], axis=0)
    error = 100 * np.array([r.coverage for r in replicates]).std(axis=0, ddof=1).max() / np.sqrt(len(replicates))
    parts = (f"{100 * c:.0f} %, {a:.2f}, {w:.1f}" for c, a, w in zip(coverage, auc, width, strict=True))
    return f"| {name} | {' | '.join(parts)} | n = {len(replicates)}, ± {error:.1f}"


def cells(values: Float64[np.ndarray, "replicate seen"]) -> str:
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return " | ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(values.mean(axis=0), error, strict=True))


@click.command()
@click.option("--replicates", default=300, show_default=True)
@click.option("--processes", type=click.Path(path_type=Path), help="Fit the Gaussian processes too; FILE is kept.")
def main(replicates: int, processes: Path | None) -> None:
    if processes is None:
        show_simple(replicates)
    else:
        show_processes(replicates, processes)


def show_simple(replicates: int) -> None:
    print("AUC at", *SEEN, "checkpoints seen", sep=" | ")
    found = simple(replicates)
    for name, rows in found.items():
        print(name, cells(rows), sep=" | ", flush=True)
    print("all 16 right at 2 checkpoints, slope of mean_neg_kl:", (found[PREDICTORS[0]][:, 0] == 1).mean())


def show_processes(replicates: int, file: Path) -> None:
    for turn in ("compilation included", "compiled"):
        start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
        for name in NAMES:
            emergence.forecast(emergence.simulate(0), settings=emergence.Settings(name))
        wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_utime - used
        print(f"three processes, {CASES} cases x 8 checkpoints x 6 prefills, {turn}: {wall:.1f} s, {used:.1f} s of CPU")
    done = kept(file)
    with file.open("a") as lines:
        for seed, (label, settings, posterior) in itertools.product(range(replicates), PROCESSES):
            if (label, seed) not in done:
                done[label, seed] = process(seed, settings, posterior)
                print(
                    json.dumps({"process": label, "seed": seed, **done[label, seed]._asdict()}), file=lines, flush=True
                )
    for label, _, _ in PROCESSES:
        print(table_row(label, [done[label, seed] for seed in range(replicates)]))


if __name__ == "__main__":
    main()
