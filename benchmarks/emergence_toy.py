"""A toy where the rate of a behavior without a prefill is known: how wrong is each estimator?

The checkpoint writes one of `OTHERS` ordinary texts, each with a small rate of the behavior, or, with probability
`route`, one of `ROUTES` texts that lead to it. The donor writes only the latter. Run with
`python -m benchmarks.emergence_toy`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from inoc.emergence.estimators import (
    Counts,
    Estimate,
    Nats,
    beginnings,
    distinct_texts,
    importance,
    jensen,
    own_prefills,
    pool_equal,
)

ROUTES, OTHERS = 256, 256
SPREAD = 1.35
"""Standard deviation of log P(q) - log mu(q) over the donor's texts, in nats."""
PREFILLS, SAMPLES, REPEATS = 50, 90, 400


@dataclass(frozen=True)
class Toy:
    """Texts with their probability under checkpoint and donor, and the rate of the behavior after each."""

    checkpoint: Float64[np.ndarray, " text"]
    donor: Float64[np.ndarray, " text"]
    rate: Float64[np.ndarray, " text"]

    @property
    def truth(self) -> float:
        """The log rate of the behavior without a prefill."""
        return float(np.log(self.checkpoint @ self.rate))

    @property
    def by_donor(self) -> float:
        """The log probability of the behavior by a text that the donor can write."""
        return float(np.log((self.checkpoint * self.rate)[self.donor > 0].sum()))


def make_toy(log_rate: float, by_route: float, rate: float = 0.5, seed: int = 0) -> Toy:
    """A toy of which the share `by_route` of the rate goes through the donor's texts."""
    random = np.random.default_rng(seed)
    donor = random.dirichlet(np.full(ROUTES, 2.0))
    tilt = donor * np.exp(SPREAD * random.normal(size=ROUTES))
    route = by_route * np.exp(log_rate) / rate
    ordinary = (1 - by_route) * np.exp(log_rate) / (1 - route)
    others = np.full(OTHERS, (1 - route) / OTHERS)
    return Toy(
        np.concatenate([route * tilt / tilt.sum(), others]),
        np.concatenate([donor, np.zeros(OTHERS)]),
        np.concatenate([np.full(ROUTES, rate), np.full(OTHERS, ordinary)]),
    )


TOYS = {"rare": make_toy(-7.49, np.exp(-2.2)), "common": make_toy(-3.85, 0.95)}


def draw(
    random: np.random.Generator, toy: Toy, probability: Float64[np.ndarray, " text"]
) -> tuple[list[str], Counts, Counts, Nats, Nats]:
    """Prefills drawn with a probability: names, successes, trials and both surprisals."""
    texts = random.choice(probability.size, PREFILLS, p=probability)
    with np.errstate(divide="ignore"):
        surprisal, donor = -np.log(toy.checkpoint[texts]), -np.log(toy.donor[texts])
    return (
        [str(t) for t in texts],
        random.binomial(SAMPLES, toy.rate[texts]),
        np.full(PREFILLS, SAMPLES),
        surprisal,
        donor,
    )


def estimates(random: np.random.Generator, toy: Toy) -> dict[str, Estimate]:
    """Every estimator once, and the two errors to avoid, which inoc does not offer."""
    _, y, n, s, _ = draw(random, toy, toy.checkpoint)
    found = {"own_prefills": own_prefills(y, n), "own minus surprisal": importance(y, n, s, np.zeros(PREFILLS))}
    texts, y, n, s, donor = draw(random, toy, toy.donor)
    pooled = pool_equal(texts, y, n, s)
    return found | {
        "importance": importance(y, n, s, donor),
        "jensen": jensen(y, n, s, donor),
        "distinct_texts": distinct_texts(*pooled),
        "beginnings": beginnings(*pooled),
        "donor without its surprisal": importance(y, n, s, np.zeros(PREFILLS)),
    }


@dataclass(frozen=True)
class Errors:
    """Mean error in nats over the repeats where the estimate is defined, its standard error, the defined share, and
    how often the interval holds the truth (for a lower bound: how often it starts below it)."""

    mean: float
    standard_error: float
    defined: float
    coverage: float


def errors(toy: Toy, repeats: int = REPEATS, seed: int = 1) -> dict[str, Errors]:
    """The errors of every estimator on a toy."""
    random = np.random.default_rng(seed)
    rows = [estimates(random, toy) for _ in range(repeats)]
    table: dict[str, Errors] = {}
    for name in rows[0]:
        value, lower, upper = np.array([row[name][:3] for row in rows]).T
        target = toy.by_donor if name == "importance" else toy.truth
        bound = name in ("jensen", "distinct_texts", "beginnings")
        held = (lower <= target) & (bound | (target <= upper))
        wrong = value[np.isfinite(value)] - toy.truth
        table[name] = Errors(
            float(wrong.mean()),
            float(wrong.std(ddof=1) / np.sqrt(wrong.size)),
            wrong.size / repeats,
            float(held[np.isfinite(lower) | np.isfinite(upper)].mean()),
        )
    return table


def main() -> None:
    print("estimator | " + " | ".join(f"{name} ({toy.truth:.2f})" for name, toy in TOYS.items()))
    tables = [errors(toy) for toy in TOYS.values()]
    for name in tables[0]:
        cells = [table[name] for table in tables]
        texts = [f"{c.mean:+.2f} ± {c.standard_error:.2f} ({c.defined:.0%}; {c.coverage:.0%})" for c in cells]
        print(name, *texts, sep=" | ")


if __name__ == "__main__":
    main()
