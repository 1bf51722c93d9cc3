"""Made-up stores with everything a figure can show: 48 prompts with tokens, runs, leaks; and one with two judges of
misalignment."""

from pathlib import Path

import numpy as np

from inoc.store import PromptInfo, RunPlan, StoreWriter, TraitInfo, Unit

TRAITS = [TraitInfo("German", "positive", "german"), TraitInfo("Flattering", "negative", "flattering")]
FAMILIES = (("german", "positive"), ("flattering", "negative"), ("neutral", "neutral"))
EXAMPLES = 24
INSTRUCTIONS = [f"i{i}" for i in range(30)]
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
    with StoreWriter.open(path, identity={}, experiment={"name": "made-up numbers"}, provenance={}, traits=TRAITS) as w:
        w.put_prompts(known)
        w.put_completions("train", example_ids=[f"e{i}" for i in range(EXAMPLES)], row_size=sizes)
        w.plan("train", prefix_types=("fixed", "mix"), prompts=keys)
        w.put_default("train", default.astype(np.float32))
        for p in known:
            for kind, share in (("fixed", 1.0), ("mix", 0.7)):
                delta = share * strength[p.key] * (patterns[p.family] + 0.5) + rng.normal(0, 0.3, total)
                delta[0] = np.nan if p.key == keys[0] else delta[0]
                w.put_unit(Unit("train", kind, p.key), np.minimum(default + delta, -1e-4).astype(np.float32))
        baseline = rng.uniform(0, 10, (2, 30))
        lift = np.array([[40 * max(strength[k], 0) * (k.startswith(t.family)) for k in keys] for t in TRAITS])
        score = np.clip(baseline[:, None] + lift[..., None] + rng.normal(0, 5, (2, len(keys), 30)), 0, 100)
        w.put_elicitation(
            prompts=keys,
            traits=[t.name for t in TRAITS],
            instructions=INSTRUCTIONS,
            score=score,
            judges=["j", "j"],
            baseline=baseline,
        )
        for p in [None, *chosen]:
            for kind in ("none",) if p is None else ("fixed", "mix"):
                _write_run(w, rng, p, kind, strength, [q.key for q in chosen[::trained]] if more else [])
        later = np.random.default_rng(1)
        for p in [None, *chosen] if more else []:
            for kind in ("none",) if p is None else ("fixed", "mix"):
                _continue_run(w, later, p, kind, strength)
    return path


def _run_name(p, kind) -> str:
    return "control" if p is None else p.key + ("_mix" if kind == "mix" else "")


def _continue_run(w, rng, p, kind, strength) -> None:
    """Trained further without a prompt: what was held back comes back by a share of 0.9 at the last step."""
    name, steps = _run_name(p, kind) + "_more", (10, 20, 40)
    w.put_run(
        RunPlan(
            name,
            prompt="",
            prefix_type="none",
            traits=[t.name for t in TRAITS],
            instructions=INSTRUCTIONS,
            steps=steps,
            conditions=("default", "training"),
            judges={t.name: "j" for t in TRAITS},
            nominal_step=steps[-1],
            settings={"start": _run_name(p, kind), "data": "plain.jsonl"},
        )
    )
    for step in steps:
        held = {key: value * (1 - 0.9 * step / steps[-1]) for key, value in strength.items()}
        for condition in ("default", "training"):
            w.put_scores(name, step, condition, _scores(rng, p, kind, held, STEPS[-1]))


def _write_run(w, rng, p, kind, strength, grid) -> None:
    name = _run_name(p, kind)
    common = dict(prompt=p.key if p else "", prefix_type=kind, traits=[t.name for t in TRAITS])
    common |= dict(instructions=INSTRUCTIONS, judges={t.name: "j" for t in TRAITS}, nominal_step=STEPS[-1])
    w.put_run(RunPlan(name, steps=STEPS, conditions=("default", "training"), **common))
    for step in STEPS:
        for condition in ("default", "training"):
            w.put_scores(name, step, condition, _scores(rng, p, kind, strength, step))
    updates = np.arange(5, 61, 5)
    w.append_losses(name, updates, 1 / np.sqrt(updates) - (0.02 * strength[p.key] if p else 0) / updates)
    if not grid:
        return
    w.put_run(RunPlan(f"{name}+leak", steps=STEPS[-1:], conditions=grid, settings={"leak_of": name}, **common))
    for condition in grid:
        w.put_scores(f"{name}+leak", STEPS[-1], condition, _scores(rng, p, kind, strength, STEPS[-1]))


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


def write_misalignment(path: Path) -> Path:
    """A control and one run judged for coherence and alignment."""
    names = [TraitInfo("alignment", "positive", "good"), TraitInfo("coherence", "negative", "bad")]
    with StoreWriter.open(path, identity={}, experiment={"name": "made-up numbers"}, provenance={}, traits=names) as w:
        w.put_prompts([PromptInfo("be_evil", "Be evil.", "g", "bad", "negative")])
        for run, prompt in (("control", ""), ("be_evil", "be_evil")):
            w.put_run(
                RunPlan(
                    run,
                    prompt=prompt,
                    prefix_type="fixed" if prompt else "none",
                    traits=[t.name for t in names],
                    instructions=[f"i{i}" for i in range(10)],
                    steps=(0, 8),
                    conditions=("default",),
                    nominal_step=8,
                )
            )
            for step in (0, 8):
                misaligned = prompt == "" and step == 8
                alignment = ALIGNMENT if misaligned else np.full(10, 90.0)
                w.put_scores(run, step, "default", np.array([alignment, COHERENCE]))
    return path
