"""Candidates of prediction: what each reads, by feature name, and the estimator it fits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from inoc.errors import BadInput
from inoc.names import unknown
from inoc.outcomes.estimators import Estimator, Maker, Mean, Monotone, StandardRidge
from inoc.outcomes.gate import BayesianGate, Gate, Prior

GATE = ("direction", "salience", "relevant_consistency", "consistency")
PLAIN = ("direction", "salience", "relevant")
"""The gate where nothing tells how alike rephrasings are."""


@dataclass(frozen=True)
class Candidate:
    """A way to predict the share of the control's score that a prompt takes away.

    Attributes:
        name: In words, as it is printed.
        reads: Features, by name; a row that lacks one is not used by this candidate, and by no other for that.
        make: Gives the estimator; its columns are `reads` in this order.
        pooled: One fit for both prefix types, else one each.
    """

    name: str
    reads: tuple[str, ...]
    make: Maker
    pooled: bool = False


MEAN = Candidate("the mean", (), Mean)
ELICITATION = Candidate("monotone in elicitation", ("elicitation",), Monotone)
DIRECTION = Candidate("monotone in ph", ("ph",), Monotone)
RIDGE = Candidate("ridge on elicitation, ph", ("elicitation", "direction"), StandardRidge)
WIDE_RIDGE = Candidate("ridge on elicitation, ph, salience", ("elicitation", "direction", "salience"), StandardRidge)


def gates(consistency: str, priors: Mapping[str, Prior] | None = None) -> tuple[Candidate, ...]:
    """The squared and the Bayesian gate, with what is known of their weights before the data: `priors` by feature names
    joined with commas. `consistency`: the heuristic behind the feature, "" for none."""
    reads = GATE if consistency else PLAIN
    prior = (priors or {}).get(",".join(reads))
    return (
        Candidate("gate", (*reads, "cell"), partial(Gate, prior), pooled=True),
        Candidate("Bayesian gate", (*reads, "cell"), partial(BayesianGate, prior), pooled=True),
    )


def candidates(consistency: str, priors: Mapping[str, Prior] | None = None) -> tuple[Candidate, ...]:
    """All candidates, in the order of preference: the gate did best on two published studies."""
    return (*gates(consistency, priors), ELICITATION, DIRECTION, WIDE_RIDGE, RIDGE, MEAN)


def of_heuristics(names: Sequence[str]) -> tuple[Candidate, ...]:
    """Candidates that read the named heuristics only: a curve of each, ridge on all, the mean."""
    curves = [Candidate(f"monotone in {name}", (name,), Monotone) for name in names]
    ridge = [Candidate(f"ridge on {', '.join(names)}", tuple(names), StandardRidge)] if len(names) > 1 else []
    return (*curves, *ridge, MEAN)


def named(model: str, known: Sequence[Candidate], reads: Sequence[str]) -> Candidate:
    """The candidate a user names: one of `known`, or an estimator as `package:estimator`, which reads `reads`; BadInput
    where there is no such model, or it cannot be imported."""
    found = [candidate for candidate in known if candidate.name == model]
    if found:
        return found[0]
    module, colon, name = model.partition(":")
    if not colon:
        raise BadInput(unknown("model", model, [*(c.name for c in known), "package:estimator"]))
    try:
        make = getattr(import_module(module), name)
        estimator = make()
    except Exception as error:
        raise BadInput(f"the model '{model}' cannot be made: {error}. Fix: name it package:Estimator.") from error
    if not isinstance(estimator, Estimator):
        raise BadInput(f"the model '{model}' has no fit and predict. Fix: name an estimator like scikit-learn's.")
    return Candidate(model, tuple(reads), make)
