"""`inoc doctor`: check that a backend works here and scores correctly."""

import json
import platform
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import json_option
from inoc.errors import BackendRejected, BackendUnavailable, BadResult, InocError

if TYPE_CHECKING:
    from inoc.backends.protocols import Backend
    from inoc.experiment import Experiment

CORE = ("inoc", "numpy", "jax", "xarray", "zarr", "peft")


@click.command()
@click.argument("study", required=False, type=click.Path(path_type=Path))
@click.option("--backend", "backend_name", help="Another backend than the experiment's.")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="The study's store: where a server that names no tokens is recorded as compared.",
)
@click.option("--completions", default=20, show_default=True, type=click.IntRange(1, 200), help="How many to compare.")
@click.option("--train", "trains", is_flag=True, help="Train six tiny updates, too, and compare losses with scores.")
@json_option
def doctor(
    study: Path | None, backend_name: str | None, store: Path | None, completions: int, trains: bool, as_json: bool
) -> None:
    """Check that a backend works here and scores correctly, with the model of a STUDY or else the testbed.

    Says which versions and backends are here and whether the backend answers, then scores a few completions and
    compares them: with the same tokens asked one at a time, and with the local backend where it has the model too, else
    with what holds for every language model.
    Exit code 2 if the backend cannot be used, 1 if it scores wrongly.
    """
    from importlib.resources import as_file, files

    from inoc.experiment import load_experiment

    with as_file(files("inoc.experiment").joinpath("template.yaml")) as template:
        experiment = load_experiment(study or template)
    name = backend_name or experiment.backend.name

    def say(text: str) -> None:
        if not as_json:
            click.echo(text)

    document: dict[str, object] = {"backend": name, "ok": False, "reachable": False, "check_seconds": None}
    try:
        document |= _installed(name, say)
        backend = _reach(experiment, backend_name, document)
        say(f"{name}: answers ({document['check_seconds']} s); {document['engine']}, model {document['model']}")
        try:
            _compare(experiment, backend, store, completions, document, say)
            if trains and document["ok"]:
                _train(experiment, backend, document, say)
        finally:
            backend.close()
    except InocError as error:
        document |= {"error": str(error), "advice": unusable(error)}
        say(f"NOT ok: {unusable(error)}.")
        raise
    finally:
        if as_json:
            click.echo(json.dumps(document, indent=2))
    if not document["ok"]:
        sys.exit(1)


def unusable(error: InocError) -> str:
    """What to do about a backend that cannot be used at all."""
    if isinstance(error, BackendUnavailable):
        return "it cannot be reached or used from here; correct what the message names, then run this again"
    if isinstance(error, BackendRejected):
        return "it answers, but refuses; compare the model and the settings with what it offers"
    if isinstance(error, BadResult):
        return "do not use scores of this backend here; its answers cannot be right"
    return "nothing was compared; correct what the message names, then run this again"


def _installed(name: str, say: Callable[[str], None]) -> dict[str, object]:
    """Versions (the backend's own libraries among them) and the state of every backend."""
    from inoc.backends import list_backends
    from inoc.cli.backends import state

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `state` says it
        infos = list_backends()
    own = [info.package for info in infos if info.name == name]
    libraries = dict.fromkeys([*CORE, *(library for info in infos for library in info.libraries), *own])
    versions = {"python": platform.python_version(), **{name: _version(name) for name in libraries}}
    say(", ".join(f"{name} {version}" for name, version in versions.items() if version))
    for info in infos:
        say(f"backend {info.name}: {state(info)}")
    return {"versions": versions, "backends": {info.name: state(info) for info in infos}}


def _version(library: str) -> str | None:
    """Of the distribution of that name."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _reach(experiment: "Experiment", backend_name: str | None, document: dict[str, object]) -> "Backend":
    """The backend, once its check has passed."""
    from inoc.cli.stage_options import open_backend

    backend = open_backend(experiment, backend_name)
    begin = time.perf_counter()
    try:
        backend.check()
    finally:
        document["check_seconds"] = round(time.perf_counter() - begin, 3)
    document["reachable"] = True
    document |= {key: backend.identity().get(key) for key in ("engine", "model", "dtype")}
    return backend


def _compare(
    experiment: "Experiment",
    backend: "Backend",
    store: Path | None,
    completions: int,
    document: dict[str, object],
    say: Callable[[str], None],
) -> None:
    """The comparison, where the backend scores."""
    from inoc.plan import Study
    from inoc.stages.doctor.agreement import check_agreement
    from inoc.stages.doctor.proofs import keep_proof

    if not backend.capabilities.score:
        document |= {"ok": True, "not_compared": f"the backend {backend.name!r} cannot score given texts"}
        say(f"ok; {document['not_compared']}")
        return
    report = check_agreement(experiment, backend, completions)
    kept = None if store is None else keep_proof(Study(experiment, backend, store), report)
    document |= asdict(report) | {"ok": report.ok, "advice": report.advice}
    say(
        f"agreement of {backend.name}: {report.completions} completions, {report.tokens} tokens in "
        f"{report.seconds:.1f} s (tolerance {report.tolerance:g} nat)"
    )
    say(f"  against single tokens of its own: largest difference {report.one_by_one:.1e} nat")
    if report.difference is not None:
        say(f"  against {report.reference}: largest difference {report.difference:.1e} nat, mean {report.mean:.1e}")
    elif report.not_compared is not None:
        say(f"  not compared with the local backend: {report.not_compared}")
    if report.worst is not None and not report.ok:
        at = report.worst
        where = f"completion {at.completion}, token {at.token} {at.text!r}"
        say(f"  the largest is at {where}: {at.value:.4f}, and should be {at.expected:.4f}")
    for sentence in report.contradictions:
        say(f"  {sentence}")
    if kept is not None:
        document["proof"] = str(kept)
        say(f"  recorded in {kept}: this server names no tokens, and its values belong to those that were sent")
    if report.cause is not None:
        say(f"NOT ok ({report.cause}): do not use scores of this backend here; {report.advice}.")
    else:
        say("ok" if report.reference else "ok, compared with itself only")


def _train(
    experiment: "Experiment", backend: "Backend", document: dict[str, object], say: Callable[[str], None]
) -> None:
    """A tiny training, and its losses against the scores of its checkpoints."""
    from inoc.stages.doctor.training import check_trainer

    report = check_trainer(experiment, backend)
    document |= {"training": asdict(report) | {"difference": report.difference}, "ok": report.fault is None}
    losses = ", ".join(f"{loss:.4f}" for loss in report.losses)
    say(f"training of {backend.name}: losses of {len(report.losses)} updates {losses} in {report.seconds:.1f} s")
    if report.difference is None:
        say("ok, not compared: the backend does not score with what it trains")
        return
    say(f"  against the scores of the weights before each update: largest difference {report.difference:.1e} nat")
    say("ok" if report.fault is None else f"NOT ok: do not train with this backend here; {report.fault}.")
