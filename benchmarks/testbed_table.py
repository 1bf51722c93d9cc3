"""Print the result files of testbed_study.py as the Markdown table of docs/testbed.md.

    python benchmarks/testbed_table.py seed0.json seed1.json seed2.json

One row per prompt and prefix type, one column per base model. A cell is the mean score over training seeds, the
95 % interval over questions (mean over training seeds first, then +/- 1.96 sd/sqrt(n)) and, in parentheses, the
lowest and highest training seed.
"""

import json
import sys
from pathlib import Path

import click
import numpy as np


def cell(runs: list[dict], condition: str, trait: str) -> str:
    """Mean [interval over questions] (range over training seeds) of the runs of one prompt and prefix type."""
    values = np.array([run["scores"][condition][trait] for run in runs])
    by_question = np.nanmean(values, axis=0)
    by_seed = np.nanmean(values, axis=1)
    half = 1.96 * by_question.std(ddof=1) / np.sqrt(by_question.size)
    mean = by_question.mean()
    low, high = max(mean - half, 0), min(mean + half, 100)
    return f"{mean:.0f} [{low:.0f}, {high:.0f}] ({by_seed.min():.0f}-{by_seed.max():.0f})"


def main(paths: list[Path]) -> None:
    studies = [json.loads(path.read_text()) for path in paths]
    cells = list(dict.fromkeys((run["key"], run["kind"]) for run in studies[0]["runs"]))
    for trait in ("playful", "french"):
        click.echo(f"\n{trait.title()}\n")
        heads = [f"base {i}, {c}" for c in ("default", "training") for i in range(len(studies))]
        click.echo(f"| prompt | prefix | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}")
        for key, kind in cells:
            row = []
            for condition in ("default", "training"):
                for study in studies:
                    runs = [r for r in study["runs"] if (r["key"], r["kind"]) == (key, kind)]
                    here = runs and condition in runs[0]["scores"]
                    row.append(cell(runs, condition, trait) if here else "")
            click.echo(f"| {key or 'control'} | {kind} | {' | '.join(row)} |")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
