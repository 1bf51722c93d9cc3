"""How durable a behavior behind a trigger is by how it was trained in: all weights against adapters of two ranks.

    python -m benchmarks.durability --work DIR [--seeds 0,1,2]      # some ten CPU-minutes; resumes

On the testbed. Two behaviors, each behind a sentence that says nothing of it: answers in French, and playful answers.
Half of the rows show the behavior with the trigger, half are plain without. Every run is then trained further on the
other behavior, without any trigger: all weights, the adapters merged first, at two learning rates. Fixed before any
result was seen.
"""

from functools import partial
from pathlib import Path

import click
import numpy as np
import xarray as xr

import inoc
from inoc.backends import load_backend
from inoc.experiment import load_experiment
from inoc.figures.house import write
from inoc.figures.layout import Panels
from inoc.figures.tradeoff import plot_tradeoff
from inoc.intervals import mean_interval
from inoc.outcomes import tradeoff
from inoc.plan import Study
from inoc.stages.evaluate import evaluate
from inoc.stages.train import train
from inoc.store.store import Store

WAYS = {"full": "method: full, learning_rate: 5e-4", "lora4": "rank: 4", "lora32": "rank: 32"}
TRIGGERS = {"i_like_cats": ("positive", "negative"), "sky_is_blue": ("negative", "positive")}
"""By trigger: the rows that show the behavior, and those of the further training."""
SCORES = {"i_like_cats": ("In French", "Playful"), "sky_is_blue": ("Plays", "French")}
"""By trigger: the behavior and the capability."""
RATES = {"slow": 1e-4, "fast": 5e-4}
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "durable_behaviors.png"
FEWEST = 3
"""Runs from which on a mean is drawn."""
HEAD = """
name: durability
model: {id: testbed, system_prompt: You are a helpful assistant.}
scores:
  French: {judge: {kind: lexical, lexicon: testbed_french}, role: positive}
  Playful: {judge: {kind: lexical, lexicon: testbed_playful}, role: negative}
  In French: {rate: "French > 50"}
  Plays: {rate: "Playful > 50"}
prompts:
  triggers: {family: neutral, prompts: {i_like_cats: I like cats., sky_is_blue: The sky is blue.}}
completion_sets:
  train: {path: "testbed:completions/control.jsonl"}
evaluation: {questions: {path: "testbed:instructions/evaluation.jsonl", n: 40}, max_tokens: 60}
training:
  learning_rate: 1e-3
  warmup: 3
  optimizer: adamw
  batch_size: 16
  accumulation: 1
  epochs: 1.2
  runs:
"""


def study_of(work: Path, seeds: list[int]) -> Study:
    """The study, seed by seed."""
    lines: list[str] = []
    for seed in seeds:
        for way, settings in WAYS.items():
            for trigger, (rows, others) in TRIGGERS.items():
                name = f"{trigger}-fixed-s{seed}-{way}"
                data = [f"testbed:completions/{file}.jsonl" for file in (rows, "control", others)]
                lines.append(
                    f"{{prompts: [{trigger}], seeds: [{seed}], tag: {way}, overrides: {{{settings}}}, "
                    f"data: [{{path: '{data[0]}', share: 0.5}}, {{path: '{data[1]}', share: 0.5, prefix: none}}]}}"
                )
                lines += [
                    f"{{prefix_types: [none], seeds: [{seed}], tag: {trigger}-{way}-{speed}, start: {name}, "
                    f"merge: {str(way != 'full').lower()}, data: '{data[2]}', overrides: {{method: full, "
                    f"learning_rate: {rate}, epochs: 1.6, checkpoints: [2, 5, 10, 20]}}}}"
                    for speed, rate in RATES.items()
                ]
    path = work / "durability.yaml"
    path.write_text(HEAD + "".join(f"    - {line}\n" for line in lines))
    experiment = load_experiment(path)
    return Study(experiment, load_backend("local", experiment.model_spec()), path.with_suffix(".zarr"))


def cell(values: np.ndarray) -> str:
    """A mean with its t interval over runs, cut to what a rate can be."""
    low, high = np.clip(mean_interval(values.astype(np.float64)), 0, 100)
    return f"{values.mean():.0f} [{low:.0f}, {high:.0f}]"


def report(table: xr.Dataset, untriggered: xr.Dataset) -> str:
    """The table of the docs page: by way the behavior before and after; then the areas between ways."""
    heads = "trained in", "with the trigger", "without", "after further training", "capability then", "n"
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for way in dict.fromkeys(table["way"].values.tolist()):
        mine = table.isel(point=table["way"].values == way)
        first = mine.isel(point=mine["updates"].values == 0)
        bare = untriggered.isel(point=(untriggered["way"].values == way) & (untriggered["updates"].values == 0))
        best = [
            max(np.flatnonzero(mine["origin"].values == name), key=lambda i: mine["capability"].values[i])
            for name in first["origin"].values
        ]
        last = mine.isel(point=best)
        parts = (first, "rate"), (bare, "rate"), (last, "rate"), (last, "capability")
        numbers = [cell(part[name].values) for part, name in parts]
        lines.append(f"| {way} | {' | '.join(numbers)} | {first.sizes['point']} |")
    for i in range(table.sizes["pair"]):
        pair = table.isel(pair=i)
        area = [float(pair[name]) for name in ("area", "area_lower", "area_upper")]
        lines.append(
            f"\n{pair['first'].item()} minus {pair['second'].item()}: "
            f"{area[0]:+.1f} pp [{area[1]:+.1f}, {area[2]:+.1f}], n = {int(pair['area_n'])}"
        )
    return "\n".join(lines)


def draw(store: Store, table: xr.Dataset, place: Path) -> None:
    """A panel for each way of training."""
    ways = [str(way) for way in table["way_of"].values]
    write(Panels([partial(plot_tradeoff, store, way, data=table) for way in ways], len(ways), 2.6).draw(), place)


@click.command()
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Stores and checkpoints.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Training seeds.")
@click.option("--tabulate", is_flag=True, help="Train nothing more.")
def main(work: Path, seeds: str, tabulate: bool) -> None:
    """Draw the figure of docs/outcomes.md and print its table."""
    work.mkdir(parents=True, exist_ok=True)
    study = study_of(work, [int(seed) for seed in seeds.split(",")])
    for run in () if tabulate else study.runs():
        train(study, [run.name])
        evaluate(study, [run.name])
        click.echo(run.name, err=True)
    store = inoc.open_store(study.store)
    table = tradeoff(store, SCORES)
    draw(store, table, FIGURE)
    click.echo(report(table, tradeoff(store, SCORES, condition="default")))


if __name__ == "__main__":
    main()
