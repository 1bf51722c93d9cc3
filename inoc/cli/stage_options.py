"""What the commands of the stages share: their common options, the study they open, and what they print."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from inoc.cli.options import STORE_PATH, cluster_option, counted, json_option

if TYPE_CHECKING:
    from inoc.backends.protocols import Backend
    from inoc.cli.progress import StageProgress
    from inoc.cluster.place import Place
    from inoc.experiment import Experiment
    from inoc.plan import Study
    from inoc.stages.forecast import Forecast
    from inoc.values import Json, Recipe

STUDY = click.argument("study", type=click.Path(path_type=Path))
STORE = click.option("--store", required=True, type=STORE_PATH, help="The store; made if it does not exist.")
BACKEND = click.option("--backend", "backend_name", help="Use this backend instead of the experiment's.")
WATCH = click.option(
    "--watch", multiple=True, metavar="NAME[=SPEC]",
    help="Send losses, scores and progress also there: jsonl=FILE, tensorboard=FOLDER, wandb=PROJECT, trackio=PROJECT.",
)  # fmt: skip
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Print counts, tokens and price; send nothing and write nothing."
)


@dataclass(frozen=True)
class Call:
    """The common options of one call: STUDY, --store, --backend, --cluster, --watch, --dry-run and --json."""

    path: Path
    store: Path
    backend_name: str | None
    dry_run: bool
    as_json: bool
    cluster: str | None = None
    watch: tuple[str, ...] = ()

    def study(self, recipe: "Recipe | None" = None) -> "Study":
        """The experiment with its backend, or a pool of them, and its store; without a recipe, the store's."""
        from inoc.backends.base import BackendBase
        from inoc.experiment import load_experiment
        from inoc.plan import Study
        from inoc.stages.opening import recipe_of
        from inoc.store.lock import check_free

        experiment = load_experiment(self.path)
        if not self.dry_run:
            check_free(self.store)  # before the backend loads its libraries
        place = None if self.dry_run else self._place(experiment)
        backend = open_backend(experiment, self.backend_name, place)
        if self.dry_run and isinstance(backend, BackendBase):
            backend.offline = True
        return Study(experiment, backend, self.store, recipe or recipe_of(self.store))

    def progress(self, study: "Study") -> "StageProgress":
        """Progress on stderr, with the number of workers where there is a pool, and to the watchers of --watch."""
        from inoc.backends.protocols import Parallel
        from inoc.cli.progress import StageProgress
        from inoc.stages.watchers import Together

        others = Together(self.watch)
        click.get_current_context().call_on_close(others.close)
        return StageProgress(study.backend if isinstance(study.backend, Parallel) else None, others)

    def _place(self, experiment: "Experiment") -> "Place | None":
        """Where the workers are, by --cluster or the experiment; None for this process."""
        asked = experiment.cluster
        if self.cluster is None and (asked is None or asked.workers is None):
            return None
        from inoc.cluster.place import Place

        address = f"local:{asked.workers if asked else 1}" if self.cluster is None else self.cluster
        return Place(address) if asked is None else Place(address, asked.resources, asked.memory)

    def show(self, document: "Mapping[str, Json] | Sequence[Json]", text: str) -> None:
        """Print the result: the document with --json, else the text."""
        import json

        click.echo(json.dumps(document, indent=2) if self.as_json else text)

    def show_forecast(self, forecast: "Forecast | Sequence[Forecast]") -> None:
        """Print what a dry run found, of one stage or of several."""
        from inoc.cli.forecast import forecast_text
        from inoc.stages.forecast import Forecast

        if isinstance(forecast, Forecast):
            self.show(forecast.to_json(), forecast_text(forecast))
        else:
            self.show([entry.to_json() for entry in forecast], "\n\n".join(map(forecast_text, forecast)))


def stage_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the common options; it gets them as one `Call`, before its own options."""

    @functools.wraps(command)
    def called(
        study: Path,
        store: Path,
        backend_name: str | None,
        cluster: str | None,
        watch: tuple[str, ...],
        dry_run: bool,
        as_json: bool,
        **options: object,
    ) -> None:
        command(Call(study, store, backend_name, dry_run, as_json, cluster, watch), **options)

    for decorate in (json_option, DRY_RUN, WATCH, cluster_option, BACKEND, STORE, STUDY):
        called = decorate(called)
    return called


def open_backend(experiment: "Experiment", name: str | None = None, place: "Place | None" = None) -> "Backend":
    """The experiment's backend, or the one of that name (then without the experiment's backend options).

    With a place, a pool of it there. It is closed when the command ends.
    """
    from inoc.backends import load_backend

    spec = experiment.model_spec()
    if name is not None and name != experiment.backend.name:
        spec = replace(spec, options={})
    chosen = name or experiment.backend.name
    if place is None:
        backend = load_backend(chosen, spec)
        click.get_current_context().call_on_close(backend.close)
        return backend
    from inoc.cluster.pool import open_pool

    pool = click.get_current_context().with_resource(open_pool(chosen, spec, place))
    click.echo(f"cluster: {counted(pool.workers, 'worker')}; dashboard {pool.dashboard or 'none'}", err=True)
    return cast("Backend", pool)
