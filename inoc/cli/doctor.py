"""`inoc doctor`: can this machine score, and does it score correctly?"""

import json
import platform
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from inoc.stages.alignment import AlignmentReport

CORE = ("inoc", "numpy", "jax", "xarray", "zarr")
OPTIONAL = ("torch", "transformers", "peft", "vllm", "openai", "tinker", "openweights")


@click.command()
@click.argument("study", required=False, type=click.Path(path_type=Path))
@click.option("--backend", "backend_name", help="Another backend than the experiment's.")
@click.option(
    "--completions", default=20, show_default=True, type=click.IntRange(1, 200), help="How many to compare."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def doctor(study: Path | None, backend_name: str | None, completions: int, as_json: bool) -> None:
    """Check that this machine can score correctly, with the model of a STUDY or else the testbed.

    Says which versions and backends are here, then scores a few completions in one batch and again one token
    at a time, and where the model is small enough against a naive loop. Exit code 1 if they disagree.
    """
    versions = {"python": platform.python_version(), **{name: _version(name) for name in (*CORE, *OPTIONAL)}}
    if not as_json:
        click.echo(", ".join(f"{name} {version}" for name, version in versions.items() if version))
        from inoc.backends import list_backends
        from inoc.cli.backends import state

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `state` says it
            infos = list_backends()
        for info in infos:
            click.echo(f"backend {info.name}: {state(info)}")
    name, report, seconds = _align(study, backend_name, completions)
    if as_json:
        document = {
            "versions": versions, "backend": name, "ok": report.ok, "completions": report.completions,
            "tokens": report.tokens, "one_by_one": report.one_by_one, "naive": report.naive,
            "tolerance": report.tolerance, "seconds": seconds,
        }  # fmt: skip
        click.echo(json.dumps(document, indent=2))
    else:
        naive = "not compared" if report.naive is None else f"{report.naive:.1e} nat"
        click.echo(
            f"alignment of {name}: {report.completions} completions, {report.tokens} tokens in {seconds:.1f} "
            f"s; largest difference one token at a time {report.one_by_one:.1e} nat, to a naive loop {naive} "
            f"(tolerance {report.tolerance:g})"
        )
        click.echo("ok" if report.ok else advice(report))
    if not report.ok:
        sys.exit(1)


def advice(report: "AlignmentReport") -> str:
    """What to do about a disagreement."""
    if report.naive is not None and report.naive > report.tolerance >= report.one_by_one:
        cause = "it agrees with itself but not with transformers: another model, dtype, quantisation or BOS?"
    elif report.one_by_one > 1:
        cause = "values of this size mean wrong tokens or wrong contexts, not rounding"
    else:
        cause = "a result depends on its batch or its cache: try dtype float32 or a smaller batch"
    return f"NOT ok: do not use scores of this backend here; {cause}."


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _align(
    study: Path | None, backend_name: str | None, completions: int
) -> tuple[str, "AlignmentReport", float]:
    """The backend's name, the comparison, and the seconds it took."""
    import time
    from importlib.resources import as_file, files

    from inoc.cli.score import open_backend
    from inoc.experiment import load_experiment
    from inoc.stages.alignment import TOLERANCE, alignment_requests, check_alignment, naive_reference
    from inoc.stages.plan import make_plan
    from inoc.stages.score import open_chat, scorer_of

    with as_file(files("inoc.experiment").joinpath("template.yaml")) as template:
        experiment = load_experiment(study or template)
    backend = open_backend(experiment, backend_name)
    backend.check()
    chat = open_chat(experiment, backend)
    plan = make_plan(experiment, chat, backend.context_length, sets=("train",), prefix_types=("fixed",))
    plan.check_lengths()
    reference = naive_reference(experiment.model_spec()) if backend.name == "local" else None
    start = time.perf_counter()
    report = check_alignment(
        scorer_of(backend),
        alignment_requests(plan, completions),
        TOLERANCE[experiment.model.dtype],
        reference,
    )
    return backend.name, report, time.perf_counter() - start
