"""A live forecast on the testbed: two traits that rise from far below 1 %, with and without an inoculation prompt.

    python -m benchmarks.emergence_testbed --out FOLDER --seeds 3

Trains the testbed model, forces beginnings of the trained end's answers at every checkpoint, and compares the
forecasts after 2, 3 and 4 checkpoints with the counted rate at the end.
"""

from pathlib import Path

import click
import numpy as np
import xarray as xr

import inoc
from inoc import emergence, testbed

CHECKPOINTS = (2, 4, 8, 16, 32, 60)
SEEN = (2, 3, 4)
PROCESSES = ("rate", "offset", "constrained")


def run_live(folder: Path, seeds: int, prompts: tuple[str, ...] = ("answer_playfully", "answer_french")) -> xr.Dataset:
    """Train and measure; the cases of all runs."""
    from inoc.backends import load_backend
    from inoc.experiment import load_experiment
    from inoc.plan import Study
    from inoc.stages.pipeline import run_study
    from inoc.stages.prefill import prefill

    numbers = ", ".join(map(str, range(seeds)))
    runs = f"""  checkpoints: [{", ".join(map(str, CHECKPOINTS))}]
  runs:
    - {{prefix_types: [none], seeds: [{numbers}]}}
    - {{prompts: [{", ".join(prompts)}], prefix_types: [fixed], seeds: [{numbers}]}}
"""
    text = Path(testbed.experiment_path()).read_text()
    start, end = text.index("  checkpoints:"), text.index("evaluation:")
    prefills = "  prefills: {source: run, levels: [0, 5, 10, 20, 40], texts: 30, n: 90, threshold: 70}\n"
    rest = text[end:].replace("  max_tokens: 80\n", f"  max_tokens: 80\n  conditions: [default]\n{prefills}")
    path = folder / "study.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text[:start] + runs + "\n" + rest)
    experiment = load_experiment(path)
    study = Study(experiment, load_backend("local", experiment.model_spec()), folder / "run.zarr")
    run_study(study, ("train",))
    prefill(study)
    return emergence.cases(inoc.open_store(study.store).emergence)


def forecasts(table: xr.Dataset) -> xr.Dataset:
    """Forecast rate with interval, and slope of mean_neg_kl, by process, checkpoints seen and case."""
    parts = []
    for name in PROCESSES:
        ahead = [emergence.forecast(table, seen=seen, settings=emergence.Settings(name)) for seen in SEEN]
        parts.append(xr.concat(ahead, xr.DataArray(list(SEEN), dims="seen", name="seen"), join="exact"))
    return xr.concat(parts, xr.DataArray(list(PROCESSES), dims="process", name="process"), join="exact")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--seeds", default=3, show_default=True)
def main(out: Path, seeds: int) -> None:
    table = run_live(out, seeds)
    truth = (table["successes"] / table["trials"]).isel(prefill=0)
    print("rate without a prefill by checkpoint")
    for k in range(table.sizes["case"]):
        rates = " ".join(f"{rate:.2f}" for rate in truth.values[k])
        print(f"  {table['run'].values[k]} {table['behavior'].values[k]}: {rates}")
    emerges = emergence.labels(table)
    found = forecasts(table)
    last = truth.values[:, -1]
    for process in PROCESSES:
        for seen in SEEN:
            part = found.sel(process=process, seen=seen)
            held = (part["lower"].values <= last) & (last <= part["upper"].values)
            auc = emergence.auc(part["logit"].values, emerges)
            wrong = np.abs(part["rate"].values - last).mean()
            print(f"{process}, {seen} seen: AUC {auc:.2f}, interval holds {held.mean():.0%}, mean error {wrong:.2f}")
    simple = emergence.auc_table(table)
    for name in simple["predictor"].values:
        print(f"{name}: " + " ".join(f"{value:.2f}" for value in simple["auc"].sel(predictor=name).values))


if __name__ == "__main__":
    main()
