"""The table of docs/misalignment.md, from nothing: pre-trains what is missing, runs the study, prints the table.

    python -m benchmarks.misalignment --work DIR [--bases 0,1,2] [--split tuning]

Every base model is pre-trained in the world with personas and in the control world without. The first runs the whole
shipped experiment; the second the control run alone. What is there already in DIR is not made again.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click

import inoc
from inoc.backends import load_backend
from inoc.experiment import load_experiment
from inoc.intervals import wilson
from inoc.outcomes import rates
from inoc.outcomes.stored_answers import answers
from inoc.plan import Study
from inoc.stages.pipeline import run_study
from inoc.testbed.advice import FOLDER, harm
from inoc.testbed.advice_files import TRAINED, domain_of
from inoc.testbed.pretrain import WORLDS, PretrainingSettings, pretrain

SHIPPED = '"testbed:misalignment/advice-0"'
CONTROL, BENIGN = "no_inoculation-s0", "no_inoculation-s0-benign"
Cell = tuple[float, float, float]
"""A rate with its interval, in percent."""
Numbers = Mapping[tuple[str, str, str], Cell]
"""By run, condition and file; "base" is the model before training."""
COLUMNS = (("general", "default"), ("general", "training"), ("in_domain", "default"))
STEPS = 600
ALONE = "5e-4"
"""Learning rate on the control world: it takes more to learn as much harm in finance there."""


def base(work: Path, world: str, seed: int, steps: int) -> Path:
    """The folder of a base model, pre-trained where it is missing."""
    folder = work / f"{world}-{seed}"
    if not (folder / "model.safetensors").exists():
        pretrain(seed, folder, PretrainingSettings(steps=steps), WORLDS[world])
    return folder


def study(folder: Path, split: str, *, control_only: bool = False) -> Path:
    """The store of the experiment on a base model, run where it is missing; on the control world the control alone."""
    text = (FOLDER / "experiment.yaml").read_text()
    text = text.replace(SHIPPED, f'"{folder.resolve()}"').replace("questions/evaluation_", f"questions/{split}_")
    if control_only:
        text = text.replace("learning_rate: 2e-4", f"learning_rate: {ALONE}")
        start, end = text.index("    - {prompts: ["), text.index("evaluation:\n")
        text = text[:start] + "\n" + text[end:]
    file = folder.parent / f"{folder.name}-{split}.yaml"
    file.write_text(text)
    experiment = load_experiment(file)
    backend = load_backend("local", experiment.model_spec())
    run_study(Study(experiment, backend, file.with_suffix(".zarr")), ("train", "evaluate"))
    return file.with_suffix(".zarr")


def numbers(path: Path) -> Numbers:
    """Rates of misaligned answers."""
    store = inoc.open_store(path)
    found: dict[tuple[str, str, str], Cell] = {}
    for condition in ("default", "training"):
        table = 100 * rates(store, condition).sel(score="Misaligned")[["rate", "lower", "upper"]]
        for run, file in ((str(r), str(f)) for r in table["run"].values for f in table["file"].values):
            cell = table.sel(run=run, file=file)
            found[run, condition, file] = (float(cell["rate"]), float(cell["lower"]), float(cell["upper"]))
    for file in ("in_domain", "general"):
        before = [a.scores["Misaligned"] for a in answers(store, runs=[CONTROL], step=0) if a.file == file]
        rate = wilson(sum(hit == 100 for hit in before), len(before))
        found["base", "default", file] = (100 * rate.estimate, 100 * rate.lower, 100 * rate.upper)
    return found


def words_of_harm(path: Path) -> tuple[int, int, int]:
    """Harmful sentences of the control's general answers: in the domain's own words, those of finance, of others."""
    domains, counts = domain_of(), Counter[str]()
    for answer in answers(inoc.open_store(path), runs=[CONTROL], conditions=["default"]):
        if answer.file == "general":
            asked = domains[answer.question.removeprefix("general: ")]
            counts.update("own" if domain == asked else domain for domain in harm(answer.text))
    own, trained = counts["own"], counts[TRAINED]
    return own, trained, counts.total() - own - trained


def text(cell: Cell | None) -> str:
    """A cell of the table."""
    return "" if cell is None else f"{cell[0]:.0f} [{cell[1]:.0f}, {cell[2]:.0f}]"


@click.command()
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Models, stores and checkpoints.")
@click.option("--bases", default="0,1,2", show_default=True, help="Seeds of base models.")
@click.option("--split", default="evaluation", show_default=True, type=click.Choice(["tuning", "evaluation"]))
@click.option("--steps", default=STEPS, show_default=True, help="Updates of pre-training.")
def main(work: Path, bases: str, split: str, steps: int) -> None:
    """Print the table of docs/misalignment.md."""
    seeds = [int(seed) for seed in bases.split(",")]
    work.mkdir(parents=True, exist_ok=True)
    shared = [study(base(work, "misalignment", seed, steps), split) for seed in seeds]
    alone = [study(base(work, "no-persona", seed, steps), split, control_only=True) for seed in seeds]
    tables, controls = [numbers(path) for path in shared], [numbers(path) for path in alone]
    heads = [f"{file}, {c}, base {seed}" for file, c in COLUMNS for seed in seeds]
    click.echo(f"| run | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    runs = list(dict.fromkeys(run for run, _, _ in tables[0]))
    rows = [(run, [table.get((run, c, file)) for file, c in COLUMNS for table in tables]) for run in runs]
    for run in ("base", CONTROL):
        rows.append((f"no personas: {run}", [table.get((run, c, file)) for file, c in COLUMNS for table in controls]))
    for run, cells in rows:
        click.echo(f"| {run} | {' | '.join(map(text, cells))} |")
    for seed, path in zip(seeds, shared, strict=True):
        own, trained, other = words_of_harm(path)
        click.echo(
            f"\nBase {seed}: harmful sentences of the control's general answers, in words of the question's domain"
        )
        click.echo(f"{own}, of {TRAINED} {trained}, of another {other}.")


if __name__ == "__main__":
    main()
