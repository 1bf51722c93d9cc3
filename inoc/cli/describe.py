"""`inoc describe`: measure self-perplexity and embeddings of the prompts."""

from pathlib import Path

import click

from inoc.cli.counted import counted
from inoc.cli.stage_options import open_study, stage_options


@click.command()
@stage_options
@click.option("--no-embeddings", is_flag=True, help="Only self-perplexity.")
def describe(study: Path, store: Path, backend_name: str | None, as_json: bool, no_embeddings: bool) -> None:
    """Store self-perplexity and embeddings of the prompts of a STUDY, and statistics of their pools."""
    import json

    from inoc.cli.watch import StageProgress
    from inoc.stages.describe import describe as run_stage

    opened = open_study(study, store, backend_name)
    with StageProgress() as progress:
        run_stage(opened, embeddings=not no_embeddings, watcher=progress)
    n = len(opened.experiment.prompt_list())
    click.echo(
        json.dumps({"store": str(store), "prompts": n})
        if as_json
        else f"{store}: {counted(n, 'prompt')} described."
    )
