"""Which features of a prompt predict what training with it does: many small trainings on the testbed, rerun by anyone.

    python -m benchmarks.prediction --out FOLDER                              # everything: hours; resumes
    python -m benchmarks.prediction --out FOLDER --bases 0 --seeds 0 --rates 1e-3

Base models 0, 1 and 2 (made here where they are missing) x learning rates x training seeds; each is a control run and
15 prompts fixed and mix, scored for both traits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pandas as pd

from inoc import testbed
from inoc.plan import Study

PROMPTS = (
    "answer_playfully", "playful_agent", "enjoys_joking", "humor_matters", "had_fun_today", "answer_playfully_neg",
    "answer_french", "think_parisian", "enjoys_french_food", "paris_beautiful", "croissants_interesting",
    "answer_french_neg", "sky_is_blue", "be_concise", "step_by_step",
)  # fmt: skip
"""Strong, weak and negated prompts of both families, and neutral ones."""
BASES, SEEDS, RATES = (0, 1, 2), (0, 1, 2), (1e-3, 2.5e-4)
EARLY = 15
"""The update of the control run whose checkpoint is probed too."""
MEASURED = (
    "elicitation", "max_elicitation", "ph", "mean_abs", "mean_square", "trait_set_ph", "pool_anchor", "first_token_kl",
    "prompt_shift_projection", "prompt_shift_consistency", "gradient_cosine", "gradient_influence",
)  # fmt: skip
LAYER = 2
"""The middle layer of the testbed's model, whose hidden states are used."""
FEATURES = (
    *(name + (f"[{LAYER}]" if name.startswith("prompt_shift") else "") for name in MEASURED),
    "early_gradient_cosine",
)
"""Columns of the table, fixed before any result was seen; the last is made from the control run's checkpoint."""
ROWS = Path(__file__).with_name("prediction_rows.csv")


@dataclass(frozen=True)
class Cell:
    """One base model at one learning rate: a study of its own."""

    base: int
    rate: float

    @property
    def name(self) -> str:
        return f"base{self.base}-lr{self.rate:g}"


def base_model(folder: Path, base: int) -> str:
    """The model id of a base model: the shipped one, or one that is pre-trained first (four CPU-minutes)."""
    from inoc.testbed.pretrain import main as pretrain

    place = folder / f"model{base}"
    if base > 0 and not (place / "model.safetensors").exists():
        pretrain(["--seed", str(base), "--out", str(place)], standalone_mode=False)
    return str(place) if base > 0 else "testbed"


def study_of(folder: Path, cell: Cell) -> Study:
    """The study of a cell: the testbed's experiment with another grid of runs."""
    from inoc.backends import load_backend
    from inoc.experiment import load_experiment

    lines = [f"  checkpoints: []\n  directory: {cell.name}.training\n  runs:"]
    for seed in SEEDS:
        lines.append(
            f"    - {{prefix_types: [none], seeds: [{seed}], overrides: {{checkpoints: [{EARLY}]}}}}\n"
            f"    - {{prompts: [{', '.join(PROMPTS)}], prefix_types: [fixed, mix], seeds: [{seed}]}}"
        )
    text = testbed.experiment_path().read_text()
    start, end = text.index("  checkpoints:"), text.index("evaluation:")
    rest = text[end:].replace("  max_tokens: 80\n", "  max_tokens: 80\n  conditions: [default]\n  steps: last\n")
    text = text[:start] + "\n".join(lines) + "\n\n" + rest
    text = text.replace("learning_rate: 1e-3", f"learning_rate: {cell.rate}")
    text = text.replace("  id: testbed\n", f"  id: {base_model(folder, cell.base)}\n")
    text += "\ninside: {examples: 64, weights: all}\n"
    path = folder / f"{cell.name}.yaml"
    path.write_text(text)
    experiment = load_experiment(path)
    return Study(experiment, load_backend("local", experiment.model_spec()), folder / f"{cell.name}.zarr")


def cells(bases: Sequence[int], rates: Sequence[float]) -> Iterator[Cell]:
    """All base models at the first learning rate, then at the next."""
    for rate in rates:
        for base in bases:
            yield Cell(base, rate)


def train_runs(folder: Path, bases: Sequence[int], rates: Sequence[float], seeds: Sequence[int]) -> None:
    """Train and evaluate what is not there yet, one run at a time."""
    from inoc.stages.evaluate import evaluate
    from inoc.stages.train import train

    for seed in seeds:
        for cell in cells(bases, rates):
            study = study_of(folder, cell)
            for run in study.runs():
                if run.seed == seed:
                    train(study, [run.name])
                    evaluate(study, [run.name])
                    click.echo(f"{cell.name} {run.name}")


def measure_features(folder: Path, base: int) -> Study:
    """Score, probe and elicit the prompts of a base model, in the store of its first learning rate."""
    from inoc.stages.elicit import elicit
    from inoc.stages.probe import probe
    from inoc.stages.score import score

    study = study_of(folder, Cell(base, RATES[0]))
    score(study, prompts=PROMPTS)
    probe(study, prompts=PROMPTS)
    elicit(study, PROMPTS)
    return study


def early_cosines(study: Study, seed: int) -> dict[tuple[str, str], float]:
    """The gradient cosine at the control run's checkpoint of update `EARLY`, by prefix type and prompt."""
    from inoc.backends.local import LocalBackend
    from inoc.backends.probing import Gradient
    from inoc.plan.probes import plan_probes
    from inoc.stages.evaluate import trained

    assert isinstance(study.backend, LocalBackend)
    plan = plan_probes(study, prompts=PROMPTS)
    spec = replace(plan.spec("gradient"), checkpoint=trained(study, f"no_inoculation-s{seed}").at(EARLY))
    default = (plan.default,)
    found = study.backend.probe(spec, [plan.group(unit) for unit in plan.units], default)
    gradients = [each for each in found if isinstance(each, Gradient)]
    norm = gradients[0].norm
    units = zip(plan.units, gradients[1:], strict=True)
    return {tuple(unit): float(each.products[0] / (each.norm * norm)) for unit, each in units}


def table(folder: Path, bases: Sequence[int], rates: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    """A row per run and trait: what training did, and every feature."""
    import inoc
    from inoc.errors import IncompleteStore
    from inoc.outcomes.calibration import share
    from inoc.outcomes.tidy import heuristic_columns, prompt_column

    rows: list[pd.DataFrame] = []
    for base in bases:
        heuristics = inoc.heuristics.compute(inoc.open_store(measure_features(folder, base).store), only=MEASURED)
        for rate in rates:
            study = study_of(folder, Cell(base, rate))
            if not study.store.exists():
                continue
            store = inoc.open_store(study.store)
            try:
                held = inoc.outcomes.suppression(store)
            except IncompleteStore:
                continue  # nothing is evaluated yet
            families = prompt_column(store, "family")
            for seed in seeds:
                part = held.isel(run=held["seed"].values == seed)
                if not part.sizes["run"]:
                    continue
                early = early_cosines(study, seed)
                for trait in part["trait"].values.astype(str):
                    one = part.sel(trait=trait)
                    units = list(zip(one["run_prompt"].values, one["prefix_type"].values, strict=True))
                    names, matrix = heuristic_columns(heuristics, [(str(p), str(k), trait) for p, k in units])
                    frame = pd.DataFrame(matrix.T, columns=pd.Index(names))[list(FEATURES[:-1])]
                    frame[FEATURES[-1]] = [early[str(k), str(p)] for p, k in units]
                    labels = {"base": base, "rate": rate, "seed": seed, "trait": trait}
                    labels["prompt"] = one["run_prompt"].values.astype(str)
                    labels["family"] = [families[str(p)] for p, _ in units]
                    labels["prefix_type"] = one["prefix_type"].values.astype(str)
                    labels["control"] = one["control"].values
                    labels["share"] = share(one["mean"].values.astype(float), one["control"].values.astype(float))
                    rows.append(pd.concat([pd.DataFrame(labels), frame], axis=1))
    return pd.concat(rows, ignore_index=True)


def numbers(text: str) -> list[str]:
    """The parts of a comma-separated option."""
    return [part.strip() for part in text.split(",")]


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Models, runs and results go here.")
@click.option("--bases", default=",".join(map(str, BASES)), show_default=True)
@click.option("--seeds", default=",".join(map(str, SEEDS)), show_default=True)
@click.option("--rates", default=",".join(map(str, RATES)), show_default=True, help="Learning rates.")
@click.option("--tabulate", is_flag=True, help="Train nothing more; tabulate the runs that are there.")
def main(out: Path, bases: str, seeds: str, rates: str, tabulate: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    chosen = [int(n) for n in numbers(bases)], [float(n) for n in numbers(rates)], [int(n) for n in numbers(seeds)]
    if not tabulate:
        train_runs(out, *chosen)
    table(out, *chosen).to_csv(ROWS, index=False, float_format="%.6g")
    click.echo(f"wrote {ROWS}; python -m benchmarks.prediction_errors makes the table and the figure of it")


if __name__ == "__main__":
    main()
