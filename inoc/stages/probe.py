"""Stage `probe`: what the inside of the base model says about every prompt, unit by unit.

Gradients become products and a projection where they are made; of hidden states and first tokens what is stored are
differences from the same examples without a prefix. What is compared with is computed again by each call.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from inoc.backends.probing import Activations, FirstTokens, Gradient, Probed, ProbeKind, Prober, check_probes
from inoc.plan import Study
from inoc.plan.probes import ProbeUnit, ProbingPlan, plan_probes, probes_named
from inoc.stages.capable import capable
from inoc.stages.forecast import Forecast, Row
from inoc.stages.opening import existing, keep_pools, open_writer
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.stored import pool_changes, probes_done
from inoc.store.fingerprint import difference, refuse
from inoc.store.probes import ProbePlan
from inoc.store.store import Store

Values = Mapping[str, np.ndarray]
Look = Callable[[Prober, ProbingPlan, Sequence[ProbeUnit]], tuple[Values, Iterator[Values]]]
TRIED = 2
"""Examples whose time a dry run measures."""


@dataclass(frozen=True)
class ProbeReport:
    """What a call of `probe` did, in units of all probes."""

    probed: int
    already: int


def probe(
    study: Study,
    *,
    kinds: Sequence[str] = (),
    prefix_types: Sequence[str] = (),
    prompts: Sequence[str] = (),
    watcher: Watcher = UNWATCHED,
) -> ProbeReport:
    """Probe what is pending and store it. The same call resumes after any kind of end. `kinds`, `prefix_types` and
    `prompts` (by key or group): only these; empty for all.

    Raises:
        BackendRejected: The backend cannot probe, or an example does not fit the memory.
        BadInput: Something is wrong with the files or names; nothing is probed then.
        OtherSettings: The store was made with other texts, or probed with other settings.
    """
    prober, asked = capable(study.backend, Prober, "probe"), probes_named(kinds)
    plan = plan_probes(study, prefix_types=prefix_types, prompts=prompts)
    store = existing(study)
    waiting: dict[ProbeKind, tuple[ProbeUnit, ...]] = {kind: _waiting(store, study, plan, kind) for kind in asked}
    total = sum(map(len, waiting.values()))
    with open_writer(study, store, watcher, "probe") as writer:
        keep_pools(writer, plan.scores.pools)
        watcher.begin("probing", total)
        for kind, units in waiting.items():
            if not units:
                continue
            columns, results = _LOOKS[kind](prober, plan, units)
            writer.plan_probe(_layout(plan, kind, columns))
            for unit, values in zip(units, results, strict=True):
                writer.put_probe(kind, *unit, values)
                watcher.step(f"{kind} {unit.prefix_type} {unit.prompt}")
    return ProbeReport(total, len(asked) * len(plan.units) - total)


def forecast_probes(
    study: Study, kinds: Sequence[str] = (), prefix_types: Sequence[str] = (), prompts: Sequence[str] = ()
) -> Forecast:
    """What `inoc probe` would do: units, tokens, bytes of the store, and time, which it measures on two examples."""
    prober, asked = capable(study.backend, Prober, "probe"), probes_named(kinds)
    plan = plan_probes(study, prefix_types=prefix_types, prompts=prompts)
    store = existing(study)
    rows: list[Row] = []
    for kind in asked:
        units = _waiting(store, study, plan, kind)
        tokens = plan.tokens(units)
        detail = ""
        if units:
            size, seconds = _trial(prober, plan, kind)
            said = f"{len(plan.examples)} examples each, {len(units) * size / 1e6:,.1f} MB"
            detail = f"{said}, about {_duration(seconds * tokens)}"
        rows.append(Row(kind, "units", len(plan.units), len(plan.units) - len(units), tokens, detail))
    return Forecast("probe", tuple(rows), None, ("times are measured on two examples here",) if rows else ())


def _trial(prober: Prober, plan: ProbingPlan, kind: ProbeKind) -> tuple[int, float]:
    """Bytes that a unit takes in the store, and seconds for a token, from a few examples."""
    unit = plan.units[0]
    few = replace(plan, examples=plan.examples[:TRIED], sets={k: v[:TRIED] for k, v in plan.sets.items()})
    _, results = _LOOKS[kind](prober, few, (unit, unit))
    values = next(results)  # the model is loaded now
    start = time.perf_counter()
    next(results)
    seconds = time.perf_counter() - start
    scale = len(plan.examples) / len(few.examples) if kind == "logits" else 1
    return round(scale * sum(array.nbytes for array in values.values())), seconds / few.tokens([unit])


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _waiting(store: Store | None, study: Study, plan: ProbingPlan, kind: ProbeKind) -> tuple[ProbeUnit, ...]:
    """The units that are not stored; OtherSettings where the store was probed with others, or has other pools."""
    if store is None:
        return plan.units
    refuse(study.store, pool_changes(store, plan.scores.pools))
    where = f"probes/{kind}"
    if not store.has(where):
        return plan.units
    stored = cast("Mapping[str, object]", store.attributes(where)["settings"])
    refuse(study.store, difference(stored, plan.identity(kind), f"{where}."))
    done = probes_done(store)
    return tuple(unit for unit in plan.units if (kind, *unit) not in done)


def _layout(plan: ProbingPlan, kind: ProbeKind, columns: Values) -> ProbePlan:
    """Room for all units of the plan."""
    names = {
        "gradient": ("norm", "product", "sign_product", "sketch"),
        "activation": ("shift", "square_shift"),
        "logits": ("first_token_kl",),
    }
    kinds = tuple(dict.fromkeys(unit.prefix_type for unit in plan.units))
    prompts = tuple(dict.fromkeys(unit.prompt for unit in plan.units))
    example = np.array([example.id for example in plan.examples], dtype=object)
    return ProbePlan(kind, plan.identity(kind), {"example": example, **columns}, names[kind], kinds, prompts)


def _look(prober: Prober, plan: ProbingPlan, kind: ProbeKind, units: Sequence[ProbeUnit]) -> Iterator[Probed]:
    """The references and the default, then the units."""
    spec, references = plan.spec(kind), plan.references(kind)
    groups = (*(() if references else (plan.default,)), *map(plan.group, units))
    return check_probes(spec, groups, references, prober.probe(spec, groups, references))


def _gradients(prober: Prober, plan: ProbingPlan, units: Sequence[ProbeUnit]) -> tuple[Values, Iterator[Values]]:
    results = cast("Iterator[Gradient]", _look(prober, plan, "gradient", units))
    known = [next(results) for _ in plan.references("gradient")]
    columns = {
        "reference": np.array([found.id for found in known], dtype=object),
        "reference_norm": np.array([found.norm for found in known]),
        "reference_sign_product": known[0].sign_products,
        "reference_sketch": np.stack([found.sketch for found in known]),
    }
    values = (
        {
            "norm": np.asarray(found.norm),
            "product": found.products,
            "sign_product": found.sign_products,
            "sketch": found.sketch,
        }
        for found in results
    )
    return columns, values


def _activations(prober: Prober, plan: ProbingPlan, units: Sequence[ProbeUnit]) -> tuple[Values, Iterator[Values]]:
    results = cast("Iterator[Activations]", _look(prober, plan, "activation", units))
    default = next(results)
    shape = default.values.shape[1:]
    means = {name: _mean_answer(prober, plan, name) for name in plan.sets}
    columns = {
        "layer": np.array(default.layers, np.int64),
        "completion_set": np.array(list(means), dtype=object),
        "set_activation": np.array(list(means.values()), np.float32).reshape(len(means), *shape),
    }
    shifts = (found.values.astype(np.float64) - default.values for found in results)
    values = (
        {"shift": shift.mean(0).astype(np.float32), "square_shift": (shift**2).sum(-1).mean(0)} for shift in shifts
    )
    return columns, values


def _mean_answer(prober: Prober, plan: ProbingPlan, name: str) -> np.ndarray:
    """The mean hidden state of the answers of a set, [layer, feature]."""
    spec = replace(plan.spec("activation"), pooling="answer")
    group = replace(plan.default, id=name, examples=plan.sets[name])
    (found,) = check_probes(spec, (group,), (), prober.probe(spec, (group,)))
    return cast(Activations, found).values.astype(np.float64).mean(0)


def _first_tokens(prober: Prober, plan: ProbingPlan, units: Sequence[ProbeUnit]) -> tuple[Values, Iterator[Values]]:
    results = cast("Iterator[FirstTokens]", _look(prober, plan, "logits", units))
    default = next(results).logprobs.astype(np.float64)
    logprobs = (found.logprobs.astype(np.float64) for found in results)
    values = ({"first_token_kl": np.maximum((np.exp(p) * (p - default)).sum(-1), 0.0)} for p in logprobs)
    return {}, values


_LOOKS: Mapping[ProbeKind, Look] = {"gradient": _gradients, "activation": _activations, "logits": _first_tokens}
