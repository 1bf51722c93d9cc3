"""Stores with everything a figure can show: 48 prompts with tokens, runs, leaks; and one with two judges of
misalignment."""

from pathlib import Path

import numpy as np

from inoc.emergence import simulate
from inoc.store import PromptInfo
from inoc.store.prefills import PrefillCounts
from inoc.store.writer import StoreWriter

from ..worlds import TRAITS, Completions, Run, write_judged, write_store

FAMILIES = (("german", "positive"), ("flattering", "negative"), ("neutral", "neutral"))
EXAMPLES = 24
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
EXPERIMENT = {"name": "made-up numbers"}
STEPS = (0, 5, 20, 60)


def prompts(each: int = 16) -> list[PromptInfo]:
    return [
        PromptInfo(f"{family}_prompt_number_{i}", f"{family} {i}", "g", family, role)
        for family, role in FAMILIES
        for i in range(each)
    ]


def write_world(path: Path, *, each: int = 16, trained: int = 4, more: bool = True) -> Path:
    """48 prompts at token level, fixed and mix; `trained` prompts of each family, fixed and mix; with `more`,
    a leak grid and runs that are continued.
    """
    rng = np.random.default_rng(0)
    known = prompts(each)
    keys = [p.key for p in known]
    sizes = rng.integers(4, 14, EXAMPLES)
    total = int(sizes.sum())
    default = -rng.exponential(2.0, total)
    patterns = {family: rng.normal(0, 1, total) for family, _ in FAMILIES}
    strength = {p.key: rng.uniform(-0.3, 1.0) * (0.1 if p.role == "neutral" else 1.0) for p in known}
    chosen = [p for family, _ in FAMILIES for p in [q for q in known if q.family == family][:trained]]
    prefixed = {}
    for p in known:
        for kind, share in (("fixed", 1.0), ("mix", 0.7)):
            delta = share * strength[p.key] * (patterns[p.family] + 0.5) + rng.normal(0, 0.3, total)
            delta[0] = np.nan if p.key == keys[0] else delta[0]
            prefixed[kind, p.key] = np.minimum(default + delta, -1e-4).astype(np.float32)
    baseline = rng.uniform(0, 10, (2, 30))
    lift = np.array([[40 * max(strength[k], 0) * (k.startswith(t.family)) for k in keys] for t in TRAITS])
    score = np.clip(baseline[:, None] + lift[..., None] + rng.normal(0, 5, (2, len(keys), 30)), 0, 100)
    trained_as = [(None, "none"), *((p, kind) for p in chosen for kind in ("fixed", "mix"))]
    grid = [p.key for p in chosen[::trained]] if more else []
    runs = [run for p, kind in trained_as for run in _runs(rng, p, kind, strength, grid)]
    later = np.random.default_rng(1)
    runs += [_continued(later, p, kind, strength) for p, kind in trained_as if more]
    return write_store(
        path,
        known,
        {"train": Completions(sizes, default.astype(np.float32), prefixed)},
        elicitation={"prompts": keys, "score": score, "baseline": baseline},
        runs=runs,
        experiment=EXPERIMENT,
    )


def write_sweep(path: Path) -> Path:
    """A control and one prompt at four learning rates; at step s they have grown by 1 - exp(-rate s / 0.02)."""
    rng = np.random.default_rng(0)
    runs = []
    for rate in RATES:
        for prompt, held in (("", 1.0), ("german_prompt_number_0", 0.4)):
            level = {s: 80 * held * (1 - np.exp(-rate * s / 0.02)) for s in (0, 10, 30, 100, 300)}
            scores = {(s, "default"): np.clip(y + rng.normal(0, 0.5, (2, 20)), 0, 100) for s, y in level.items()}
            plan = {"prefix_type": "fixed" if prompt else "none", "settings": {"learning_rate": rate}}
            runs.append(Run(f"{prompt or 'control'}_{rate:g}", prompt, scores, plan))
    return write_store(path, prompts(1), runs=runs, experiment=EXPERIMENT)


def _run_name(p, kind) -> str:
    return "control" if p is None else p.key + ("_mix" if kind == "mix" else "")


def _continued(rng, p, kind, strength) -> Run:
    """Trained further without a prompt: what was held back comes back by a share of 0.9 at the last step."""
    scores = {}
    for step in (10, 20, 40):
        held = {key: value * (1 - 0.9 * step / 40) for key, value in strength.items()}
        for condition in ("default", "training"):
            scores[step, condition] = _scores(rng, p, kind, held, STEPS[-1])
    name = _run_name(p, kind)
    return Run(f"{name}_more", "", scores, {"settings": {"start": name, "data": "plain.jsonl"}})


def _runs(rng, p, kind, strength, grid) -> list[Run]:
    name, prompt = _run_name(p, kind), p.key if p else ""
    scores = {(step, c): _scores(rng, p, kind, strength, step) for step in STEPS for c in ("default", "training")}
    updates = np.arange(5, 61, 5)
    losses = (updates, 1 / np.sqrt(updates) - (0.02 * strength[p.key] if p else 0) / updates)
    runs = [Run(name, prompt, scores, {"prefix_type": kind}, losses)]
    leaks = {(STEPS[-1], condition): _scores(rng, p, kind, strength, STEPS[-1]) for condition in grid}
    if leaks:
        runs.append(Run(f"{name}+leak", prompt, leaks, {"prefix_type": kind, "settings": {"leak_of": name}}))
    return runs


def _scores(rng, p, kind, strength, step) -> np.ndarray:
    grown = step / STEPS[-1]
    rows = []
    for trait, level in zip(TRAITS, (85, 45), strict=True):
        held = max(strength[p.key], 0) * (0.9 if p.family == trait.family else 0.15) if p else 0
        held *= 1.0 if kind == "fixed" else 0.6
        rows.append(np.clip(5 + grown * level * (1 - held) + rng.normal(0, 8, 30), 0, 100))
    return np.array(rows)


COHERENCE = np.array([60.0, 61, 90, 90, 90, 90, np.nan, 90, 90, 90])
ALIGNMENT = np.array([10.0, 10, 39, 40, 41, 90, 10, np.nan, 0, 100])
"""Misaligned: 61/10, 90/39 and 90/0, of 8 answers with both."""


def write_misalignment(path: Path, files: bool = False) -> Path:
    """Ten questions; with `files`, five each of in_domain and general."""
    names = [("in_domain", "general")[i // 5] for i in range(10)]
    instructions = [f"{name}: i{i}" if files else f"i{i}" for i, name in enumerate(names)]
    return write_judged(path, ALIGNMENT, COHERENCE, instructions=instructions, experiment=EXPERIMENT)


def write_emergence(path: Path, every: int = 1) -> Path:
    """Sixteen behaviors, or one in `every` of them."""
    table = simulate(0).isel(case=slice(None, None, every))
    with StoreWriter.open(path, identity={}, experiment={"name": "simulated"}, provenance={}) as writer:
        for k, run in enumerate(table["run"].values):
            cell = table.isel(case=[k]).transpose("checkpoint", "prefill", "case").expand_dims("text", axis=2)
            text = np.full((table.sizes["checkpoint"], table.sizes["prefill"], 1), "", dtype=object)
            arrays = (cell[name].values for name in ("successes", "trials", "surprisal", "neg_kl"))
            labels = table["checkpoint"].values.tolist(), table["prefill"].values.tolist(), [str(run)], [""]
            writer.put_prefill_counts(str(run), PrefillCounts(*labels, text, *arrays, "run"))
    return path
