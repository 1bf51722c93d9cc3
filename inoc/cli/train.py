"""`inoc train`: fine-tune the runs of a study."""

from pathlib import Path

import click

from inoc.cli.stage_options import names, open_study, stage_options


@click.command()
@stage_options
@click.option("--runs", help="Only these runs, separated by commas.")
@click.option("--dry-run", is_flag=True, help="Print runs, updates, tokens and their price; train nothing.")
def train(
    study: Path, store: Path, backend_name: str | None, as_json: bool, runs: str | None, dry_run: bool
) -> None:
    """Fine-tune the runs of a STUDY (experiment file).

    A finished run is left alone; a killed one goes on from its last state, with the same data in the same order.
    """
    import json
    from dataclasses import asdict

    from inoc.backends.pricing import Priced
    from inoc.cli.score import price_text
    from inoc.cli.watch import StageProgress
    from inoc.stages.train import make_job, start_of, trainer_of
    from inoc.stages.train import train as run_stage

    opened = open_study(study, store, backend_name)
    if dry_run:
        trainer_of(opened.backend)
        rows: list[dict[str, str | int]] = []
        total = 0
        for run in opened.runs(names(runs)):
            job = make_job(opened, run, None if run.start is None else start_of(opened, run))
            tokens = sum(len(job.examples[i].token_ids) for batch in job.batches for i in batch)
            total += tokens
            rows.append({"run": run.name, "updates": len(job.batches), "tokens": tokens})
        backend = opened.backend
        price = backend.price(total, "train", len(rows)) if isinstance(backend, Priced) and rows else None
        if as_json:
            document = {"runs": rows} if price is None else {"runs": rows, "price": asdict(price)}
            click.echo(json.dumps(document, indent=2))
            return
        for row in rows:
            click.echo(f"{row['run']:<40} {row['updates']:>6} updates {row['tokens']:>12,} tokens")
        if price is not None:
            click.echo(f"to train: {price_text(price)}")
        return
    with StageProgress() as progress:
        done = run_stage(opened, names(runs), progress)
    if as_json:
        rows = [{"run": t.run, "updates": t.updates, "checkpoints": len(t.checkpoints)} for t in done]
        click.echo(json.dumps({"store": str(store), "runs": rows}, indent=2))
    else:
        click.echo(f"{store}: {len(done)} runs trained.")
