"""`inoc check`: report every problem of an experiment file at once."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import counted, json_option

if TYPE_CHECKING:
    from inoc.experiment import Experiment
    from inoc.experiment.yaml_file import Problem


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--upgrade", is_flag=True, help="Rewrite a FILE of an earlier version first; FILE.old keeps what it was.")
@json_option
def check(file: Path, upgrade: bool, as_json: bool) -> None:
    """Report every problem of an experiment FILE at once: line, field and fix.

    Reads the files it names too. Exit code 0 if it can be used (notes do not count), 2 if not.
    """
    from inoc.errors import BadInput
    from inoc.experiment import check_experiment
    from inoc.experiment.upgrade import rewrite

    if upgrade and rewrite(file):
        click.echo(f"{file}: rewritten; {file}.old is what it was.", err=True)
    experiment, problems = check_experiment(file)
    if experiment is not None:
        problems += wrong_options(file, experiment)
    errors = sum(problem.severity == "error" for problem in problems)
    if as_json:
        click.echo(json.dumps({"ok": not errors, "problems": [p._asdict() for p in problems]}, indent=2))
    else:
        for problem in problems:
            click.echo(f"{file}: {problem}")
        if experiment is not None and not errors:
            prompts, runs = len(experiment.prompt_list()), len(experiment.runs())
            sets = ", ".join(name for name, _ in experiment.completion_sets.items())
            click.echo(f"{file}: ok; {counted(prompts, 'prompt')}, completion sets {sets}, {runs} runs.")
    if errors:
        raise BadInput(f"{file} has {counted(errors, 'problem')}. Fix: correct the lines above.")


def wrong_options(file: Path, experiment: "Experiment") -> "list[Problem]":
    """What the backend, where it is installed, and the judges of plugins say of their options."""
    from inoc.backends import check_options
    from inoc.errors import BadInput
    from inoc.experiment.models import BackendChoice
    from inoc.experiment.yaml_file import Loc, Problem, dotted, parse_yaml
    from inoc.plan.judges import plugin_problems

    document = parse_yaml(file.read_text(encoding="utf-8-sig"))
    found: list[Problem] = []
    named: list[tuple[Loc, BackendChoice]] = [(("backend", "options"), experiment.backend)]
    for name, entry in experiment.completion_sets.items():
        if entry.generate is not None and entry.generate.by is not None:
            place = ("completion_sets", name, "generate", "by", "backend", "options")
            named.append((place, entry.generate.by.backend))
    for loc, backend in named:
        try:
            check_options(backend.name, backend.options)
        except BadInput as error:
            found.append(Problem(dotted(loc), str(error), document.line(loc)))
    for score, message, severity in plugin_problems(experiment):
        loc = ("scores", score, "judge")
        found.append(Problem(dotted(loc), message, document.line(loc), severity))
    return found
