"""Forecasts of emergence on simulated cases: AUC, coverage of the final rate's interval, and time.

python -m benchmarks.emergence --replicates 300                # the simple predictors
python -m benchmarks.emergence --replicates 20 --processes     # and the Gaussian processes
"""

import itertools
import time

import click
import numpy as np
from jaxtyping import Float64

from inoc import emergence
from inoc.emergence.fit import Posterior
from inoc.emergence.simulation import CASES, EMERGE

SEEN = (2, 3, 4, 5, 6)
EMERGES = np.arange(CASES) < EMERGE
PREDICTORS = (
    "mean_neg_kl slope", "mean_neg_kl level", "kl_bound slope", "exploit_rate level", "log_exploit_lower_bound slope",
)  # fmt: skip


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


def process(
    settings: emergence.Settings, posterior: Posterior, replicates: int
) -> tuple[Float64[np.ndarray, "replicate seen"], Float64[np.ndarray, "replicate seen"], Float64[np.ndarray, " seen"]]:
    """AUC of the forecast logit, coverage of the final rate, median width of the interval in logits."""
    auc, coverage, width = (np.zeros((replicates, len(SEEN))) for _ in range(3))
    for seed, (k, seen) in itertools.product(range(replicates), enumerate(SEEN)):
        table = emergence.simulate(seed)
        ahead = emergence.forecast(table, seen=seen, settings=settings, posterior=posterior)
        lower, upper = (np.log(ahead[end].values / (1 - ahead[end].values)) for end in ("lower", "upper"))
        truth = table["logit"].values[:, -1]
        auc[seed, k] = emergence.auc(ahead["logit"].values, EMERGES)
        coverage[seed, k] = ((lower <= truth) & (truth <= upper)).mean()
        width[seed, k] = np.median(upper - lower)
    return auc, coverage, np.median(width, axis=0)


def cells(values: Float64[np.ndarray, "replicate seen"]) -> str:
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return " | ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(values.mean(axis=0), error, strict=True))


@click.command()
@click.option("--replicates", default=300, show_default=True)
@click.option("--processes", is_flag=True, help="Fit the Gaussian processes too.")
def main(replicates: int, processes: bool) -> None:
    print("AUC at", *SEEN, "checkpoints seen", sep=" | ")
    found = simple(replicates)
    for name, rows in found.items():
        print(name, cells(rows), sep=" | ", flush=True)
    print("all 16 right at 2 checkpoints, slope of mean_neg_kl:", (found[PREDICTORS[0]][:, 0] == 1).mean())
    if not processes:
        return
    start = time.perf_counter()
    for name in ("rate", "offset", "constrained"):
        emergence.forecast(emergence.simulate(0), seen=4, settings=emergence.Settings(name))
    print(f"three processes on {CASES} cases, compilation included: {time.perf_counter() - start:.1f} s")
    for name, mean, posterior in itertools.product(
        ("rate", "offset", "constrained"), ("constant", "linear", "tanh"), ("draws", "laplace")
    ):
        if mean != "constant" and posterior == "laplace":
            continue
        auc, coverage, width = process(emergence.Settings(name, mean), posterior, replicates)
        label = f"{name}, {mean}, {posterior}"
        print(f"{label}: AUC", cells(auc), sep=" | ", flush=True)
        print(f"{label}: coverage", cells(coverage), sep=" | ", flush=True)
        print(f"{label}: width", *(f"{w:.1f}" for w in width), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
