"""Everything wrong with an experiment file, in one go: YAML, fields, references between fields, files."""

import json
from copy import deepcopy
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from inoc.errors import BadInput
from inoc.experiment.models import Experiment
from inoc.experiment.references import Found, files_named, references, secrets
from inoc.experiment.sentences import at, sentence, written
from inoc.experiment.upgrade import is_old, upgraded
from inoc.experiment.yaml_file import MAX_BYTES, Loc, Problem, dotted, parse_yaml
from inoc.reading import read_text
from inoc.values import Json


def load_experiment(path: str | Path) -> Experiment:
    """Read an experiment file. The files it names are opened by the stages that need them.

    Args:
        path: The YAML file; relative paths in it are read from its folder.

    Returns:
        The experiment, frozen.

    Raises:
        BadInput: The file has errors; the message lists all of them, one per line.
    """
    experiment, problems = check_experiment(path, files=False)
    errors = [problem for problem in problems if problem.severity == "error"]
    if experiment is None or errors:
        count = "a problem" if len(errors) == 1 else f"{len(errors)} problems"
        raise BadInput("\n  ".join([f"{path} has {count}:", *map(str, errors)]))
    return experiment


def check_experiment(path: str | Path, *, files: bool = True) -> tuple[Experiment | None, list[Problem]]:
    """Read an experiment file and list everything wrong with it.

    Args:
        path: The YAML file.
        files: Whether to read the files it names, too.

    Returns:
        The experiment, or None with any error, and the problems in order of their lines.

    Raises:
        BadInput: The file cannot be read at all.
    """
    path = Path(path)
    document = parse_yaml(read_text(path, f"`inoc new {path}` writes an experiment file to start from.", MAX_BYTES))
    problems = list(document.problems)
    experiment: Experiment | None = None
    if isinstance(document.data, dict):
        found = [*secrets(document.data)]
        if is_old(document.data):
            message = f"written for an earlier version of inoc. Fix: `inoc check --upgrade {path}` rewrites it."
            found.append((("traits",), message, "note"))
        experiment, wrong, repaired = _validate(upgraded(document.data))
        found += wrong
        if repaired is not None:
            broken = {loc for loc, _, _ in found}
            found += [item for item in references(repaired) if item[0] not in broken]
            if files:
                found += files_named(repaired.located(path.parent))
        elif wrong:
            found.append(((), "references between fields and files are checked once these are fixed.", "note"))
        problems += [Problem(dotted(loc), message, document.line(loc), severity) for loc, message, severity in found]
    elif not problems:
        problems.append(
            Problem("", "the file is not a mapping of fields. Fix: write fields, such as `name: my-study`.", 1)
        )
    problems = sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)
    if experiment is not None and all(problem.severity == "note" for problem in problems):
        return experiment.located(path.parent), problems
    return None, problems


def _validate(data: dict[str, Json]) -> tuple[Experiment | None, list[Found], Experiment | None]:
    """The experiment (None if wrong), the errors, and one without the wrong fields to check further."""
    try:
        experiment = _parse(data)
        return experiment, [], experiment
    except ValidationError as error:
        errors = error.errors(include_url=False)
    sentences: dict[Loc, list[str]] = {}
    for item in errors:
        sentences.setdefault(written(item, data), []).append(sentence(item, data))
    found: list[Found] = [(loc, " Or: ".join(dict.fromkeys(texts)), "error") for loc, texts in sentences.items()]
    repaired = deepcopy(data)
    for _ in range(3):
        for item in errors:
            _remove(repaired, item)
        try:
            return None, found, _parse(repaired)
        except ValidationError as error:
            errors = error.errors(include_url=False)
    return None, found, None


def _parse(data: Json) -> Experiment:
    return Experiment.model_validate_json(json.dumps(data), strict=True)


_PLACEHOLDERS: dict[Loc, Json] = {("name",): "unnamed", ("model",): {"id": "unnamed"}, ("model", "id"): "unnamed"}


def _remove(data: Json, error: ErrorDetails) -> None:
    """Take the wrong field out (or put a stand-in for a missing one), so that the rest can be checked."""
    loc = written(error, data)
    if error["type"] == "missing":
        loc = error["loc"]
    parent = at(data, loc[:-1])
    if isinstance(parent, dict) and loc:
        parent.pop(str(loc[-1]), None)
        if loc in _PLACEHOLDERS:
            parent[str(loc[-1])] = deepcopy(_PLACEHOLDERS[loc])
