"""`inoc rephrase`: make the rephrasing pools, or report on them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import json_option, names, prompts_option
from inoc.cli.stage_options import DRY_RUN, STUDY, Call

if TYPE_CHECKING:
    from inoc.experiment import Experiment
    from inoc.stages.rephrase import Rephraser


@click.command()
@STUDY
@prompts_option
@click.option("--with", "source", help='"templates" (offline), "backend" (the study\'s model) or a chat model\'s name.')
@click.option("--url", help="OpenAI-compatible address of the chat model; the key comes from the environment.")
@click.option("--close", is_flag=True, help="Make the close rewordings of `rephrasings.close` instead.")
@DRY_RUN
@json_option
def rephrase(
    study: Path, prompts: str | None, source: str | None, url: str | None, close: bool, dry_run: bool, as_json: bool
) -> None:
    """Make the rephrasing pools of a STUDY that are missing or too small, and report on all of them."""
    from dataclasses import asdict

    from inoc.cli.progress import StageProgress
    from inoc.experiment import load_experiment
    from inoc.stages.rephrase import forecast_pools
    from inoc.stages.rephrase import rephrase as run_stage

    call, experiment = Call(study, study.with_suffix(".zarr"), None, dry_run, as_json), load_experiment(study)
    if dry_run:
        call.show_forecast(forecast_pools(experiment, names(prompts), close=close))
        return
    rephraser = open_rephraser(experiment, call, source, url)
    with StageProgress() as progress:
        reports = run_stage(experiment, rephraser, study.with_suffix(".work"), names(prompts), progress, close=close)
    lines: list[str] = []
    for entry in reports:
        mix = ", ".join(f"{name} {share:.0%}" for name, share in list(entry.languages.items())[:3])
        lines.append(
            f"{entry.key:<28} {entry.distinct:>5} of {entry.asked} distinct, {entry.mean_words:4.1f} words "
            f"[{entry.shortest}, {entry.longest}]  {mix}"
        )
    call.show([asdict(entry) for entry in reports], "\n".join(lines))


def open_rephraser(experiment: "Experiment", call: Call, source: str | None, url: str | None) -> "Rephraser":
    """The source named on the command line, else the experiment's."""
    from inoc.stages.rephrasers import ChatRephraser, SamplerRephraser, TemplateRephraser

    settings = experiment.rephrasings
    source = source or (settings.sampler if settings else None) or "backend"
    if source == "templates":
        return TemplateRephraser()
    if source == "backend":
        return SamplerRephraser(call.study())
    from inoc.services import Service, ServiceSettings

    service = click.get_current_context().with_resource(Service(ServiceSettings(url=url)))
    return ChatRephraser(service, source)
