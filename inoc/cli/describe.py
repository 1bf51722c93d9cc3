"""`inoc describe`: measure self-perplexity and embeddings of the prompts."""

import click

from inoc.cli.options import counted
from inoc.cli.stage_options import Call, stage_options


@click.command()
@stage_options
@click.option("--no-embeddings", is_flag=True, help="Only self-perplexity.")
def describe(call: Call, no_embeddings: bool) -> None:
    """Store self-perplexity and embeddings of the prompts of a STUDY, and statistics of their pools."""
    from inoc.stages import describe as stage

    study = call.study()
    if call.dry_run:
        call.show_forecast(stage.forecast_description(study, not no_embeddings))
        return
    with call.progress(study) as progress:
        stage.describe(study, embeddings=not no_embeddings, watcher=progress)
    n = len(study.experiment.prompt_list())
    call.show({"store": str(call.store), "prompts": n}, f"{call.store}: {counted(n, 'prompt')} described.")
