"""What one part of an experiment says about another, and the files it names."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from inoc.errors import BadInput
from inoc.experiment.data import read_completions, read_pools, read_questions
from inoc.experiment.datasets import split_name
from inoc.experiment.judges import PluginJudge
from inoc.experiment.mixtures import mixture
from inoc.experiment.models import Experiment
from inoc.experiment.parts import NEUTRAL
from inoc.experiment.sentences import is_secret, sentence
from inoc.experiment.training import Hyperparameters, Runs
from inoc.experiment.yaml_file import Loc
from inoc.names import unknown
from inoc.plugins import refused
from inoc.rates import parse_rate
from inoc.values import Json

Found = tuple[Loc, str, str]
"""Where, what (with its fix), and "error" or "note"."""


def references(experiment: Experiment) -> Iterator[Found]:
    """Names that refer to nothing, or to two things."""
    yield from _code(experiment)
    yield from _scores(experiment)
    yield from _prompts(experiment)
    yield from _sets(experiment)
    yield from _runs(experiment)
    yield from _probes(experiment)


def _code(experiment: Experiment) -> Iterator[Found]:
    """Modules that the file names and nobody allowed."""
    named: list[tuple[Loc, str]] = [(("backend", "name"), experiment.backend.name)]
    for name, score in experiment.scores.items():
        if isinstance(score.judge, PluginJudge):
            named.append((("scores", name, "judge", "name"), score.judge.name))
    for name, entry in experiment.completion_sets.items():
        if entry.generate is not None and entry.generate.by is not None:
            loc: Loc = ("completion_sets", name, "generate", "by", "backend", "name")
            named.append((loc, entry.generate.by.backend.name))
        if entry.dataset is not None and not os.path.isdir(experiment.resolve(entry.dataset.name)):
            named.append((("completion_sets", name, "dataset", "name"), split_name(entry.dataset.name)[0]))
    for loc, name in named:
        if (message := refused(name)) is not None:
            yield loc, message, "error"


def _scores(experiment: Experiment) -> Iterator[Found]:
    asked: dict[str, str] = {}
    judged = [name for name, score in experiment.scores.items() if score.rate is None]
    for name, score in experiment.scores.items():
        if score.rate is not None:
            for needed in parse_rate(score.rate).names:
                if needed not in judged:
                    yield ("scores", name, "rate"), unknown("score with a judge", needed, judged), "error"
        family = score.asked_by(name)
        if family == NEUTRAL:
            message = "'neutral' is kept for prompts that ask for no trait. Fix: give the score another `family`."
            yield ("scores", name), message, "error"
        elif family and experiment.scores[asked.setdefault(family, name)].role != score.role:
            message = f"the family {family!r} is also that of {asked[family]!r}, which has the other role. "
            yield ("scores", name), message + "Fix: give each its own `family`.", "error"


def _probes(experiment: Experiment) -> Iterator[Found]:
    if experiment.evaluation is None:
        return
    prompts, seen = [prompt.key for prompt in experiment.prompt_list()], {"default", "training"}
    for category, texts in experiment.evaluation.probes.items():
        for place, key in enumerate(texts):
            own = isinstance(texts, Mapping)
            loc: Loc = ("evaluation", "probes", category, key if own else place)
            if not own and key not in prompts:
                yield loc, unknown("prompt", key, prompts), "error"
            elif own and key in prompts:
                yield loc, f"{key!r} is the key of a prompt. Fix: rename the probe, or list the prompt's key.", "error"
            if key in seen:
                yield loc, f"the condition {key!r} exists already. Fix: name each probe once.", "error"
            seen.add(key)


def _prompts(experiment: Experiment) -> Iterator[Found]:
    families = (*dict.fromkeys(score.asked_by(name) for name, score in experiment.traits.items()), NEUTRAL)
    first: dict[str, str] = {}
    texts: dict[str, str] = {}
    for name, group in experiment.prompts.items():
        if group.family not in families:
            yield ("prompts", name, "family"), unknown("family", group.family, families), "error"
        elif group.role is not None and group.role != experiment.role(group.family):
            role = experiment.role(group.family)
            message = f"prompts of family {group.family!r} have the role {role!r}. Fix: leave it out."
            yield ("prompts", name, "role"), message, "error"
        for key, text in group.prompts.items():
            loc: Loc = ("prompts", name, "prompts", key)
            if key in first:
                yield loc, f"the key {key!r} is also in group {first[key]!r}. Fix: rename one.", "error"
            if key in experiment.prompts:
                yield loc, f"the key {key!r} is also the name of a group. Fix: rename one.", "error"
            if text != text.strip():
                yield (loc, "the text begins or ends with white space. Fix: remove it; inoc adds the space.", "error")
            elif text in texts and key not in first:
                yield loc, f"the same text as prompt {texts[text]!r}.", "note"
            first.setdefault(key, name)
            texts.setdefault(text, key)


def _sets(experiment: Experiment) -> Iterator[Found]:
    for name, entry in experiment.completion_sets.items():
        loc: Loc = ("completion_sets", name)
        if entry.path is None and not entry.made:
            yield (
                loc,
                "has no texts. Fix: add `path` (a JSONL file), `generate` (sample the base model) or `dataset`.",
                "error",
            )
        if entry.generate and entry.dataset:
            yield loc, "has both `generate` and `dataset`. Fix: remove one.", "error"
        if name == "train" and entry.generate and entry.generate.instructions is None:
            yield (
                loc,
                "`generate.instructions` is missing. Fix: name a file; the train set has no other instructions.",
                "error",
            )
        if "mix" in (entry.prefix_types or ()) and experiment.rephrasings is None:
            yield (*loc, "prefix_types"), "mix needs rephrasings. Fix: add a `rephrasings` section.", "error"


def _runs(experiment: Experiment) -> Iterator[Found]:
    names = {prompt.key for prompt in experiment.prompt_list()} | set(experiment.prompts)
    sound = True
    for index, line in enumerate(experiment.training.runs):
        for loc, message in _run(experiment, line, names):
            sound = False
            yield ("training", "runs", index, *loc), message, "error"
    if not sound:
        return
    seen: dict[str, str] = {}
    for run in experiment.runs():
        if run.name in seen:
            yield (("training", "runs"), f"two runs are named {run.name!r}. Fix: give one line a `tag`.", "error")
        if run.start is not None and run.start not in seen:
            message = f"run {run.name!r} starts from another: {unknown('earlier run', run.start, seen)}"
            yield ("training", "runs"), message, "error"
        elif run.merge and (run.settings.method, seen.get(run.start or "")) != ("full", "lora"):
            message = f"run {run.name!r} has `merge`, which trains all weights after an adapter was merged into them."
            fix = "Fix: `start` from a run of method lora, with `overrides: {method: full}`; or remove `merge`."
            yield ("training", "runs"), f"{message} {fix}", "error"
        elif run.start and not run.merge and run.settings.method != seen[run.start]:
            message = f"run {run.name!r} continues a run of method {seen[run.start]} with {run.settings.method}."
            yield ("training", "runs"), f"{message} Fix: keep the method, or set `merge: true` (lora to full).", "error"
        seen[run.name] = run.settings.method


def _run(experiment: Experiment, line: Runs, names: set[str]) -> Iterator[tuple[Loc, str]]:
    if line.prompts != "all":
        for place, name in enumerate(line.prompts):
            if name not in names:
                yield ("prompts", place), unknown("prompt or group", name, names)
    if not line.prompts and set(line.prefix_types) != {"none"}:
        yield (("prompts",), "names no prompt. Fix: list some, or set prefix_types: [none] for the control run.")
    if line.prompts and "none" in line.prefix_types:
        yield ("prefix_types",), "the control run (none) has no prompts. Fix: give it a line of its own."
    if "mix" in line.prefix_types and experiment.rephrasings is None:
        yield ("prefix_types",), "mix needs rephrasings. Fix: add a `rephrasings` section."
    elif line.rephrasings and (experiment.rephrasings is None or experiment.rephrasings.close is None):
        yield ("rephrasings",), "there are no close rewordings. Fix: name their folder in `rephrasings.close`."
    yield from _data(line)
    for field in line.overrides:
        if field not in Hyperparameters.model_fields:
            yield ("overrides", field), unknown("setting of training", field, Hyperparameters.model_fields)
    known = {k: v for k, v in line.overrides.items() if k in Hyperparameters.model_fields}
    try:
        Hyperparameters.model_validate_json(json.dumps(known), strict=True)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            yield ("overrides", *item["loc"]), sentence(item)


def _data(line: Runs) -> Iterator[tuple[Loc, str]]:
    for place, rows in enumerate(line.data):
        if rows.n is not None and rows.share is not None:
            yield ("data", place), "has both `n` and `share`. Fix: remove one."
        if rows.prefix != rows.prefix.strip():
            yield ("data", place, "prefix"), "begins or ends with white space. Fix: remove it; inoc adds the space."
    shares = [rows.share for rows in line.data if rows.share is not None]
    if shares and len(shares) == len(line.data) and abs(sum(shares) - 1) > 1e-9:
        yield ("data",), f"the shares add up to {sum(shares):g}. Fix: make them 1, or leave one entry without a share."
    elif len(shares) < len(line.data) and sum(shares) >= 1 - 1e-9:
        yield ("data",), f"shares of {sum(shares):g} leave no room for the other rows. Fix: lower them."


def secrets(data: Json, loc: Loc = ()) -> Iterator[Found]:
    """Values that look like keys: they would be copied into the store and the report."""
    if loc == ("prompts",):
        return
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in entries:
        if is_secret(str(name), value):
            message = (
                "looks like a secret, which would be copied into the store. Fix: remove it (and revoke it if the "
                "file was shared); keys are read from environment variables only."
            )
            yield (*loc, name), message, "error"
        else:
            yield from secrets(value, (*loc, name))


def files_named(experiment: Experiment) -> Iterator[Found]:
    """Read every file the experiment names. One that is missing but optional or yet to be made is a note."""
    for name, entry in experiment.completion_sets.items():
        loc: Loc = ("completion_sets", name, "path")
        if entry.path is None and not entry.made:
            continue
        path = experiment.completion_path(name)
        if entry.made and not os.path.exists(path):
            how = "samples it from the base model" if entry.generate else "takes it from the dataset"
            yield loc, f"{path} does not exist yet; `inoc score` {how}.", "note"
        else:
            read = partial(read_completions, path, system_prompt=experiment.model.system_prompt)
            yield from _file(loc, path, entry.optional, read)
    if experiment.rephrasings:
        yield from _pools(experiment)
    if experiment.evaluation:
        for name, file in experiment.evaluation.questions.items():
            path = experiment.resolve(file.path)
            read = partial(read_questions, path, file.n, experiment.evaluation.seed)
            yield from _file(("evaluation", "questions", name), path, experiment.evaluation.optional, read)
    yield from _training_files(experiment)


def _training_files(experiment: Experiment) -> Iterator[Found]:
    """The rows of runs with `data`: each missing file once, each mixture that cannot be made."""
    to_make = {experiment.completion_path(name) for name, entry in experiment.completion_sets.items() if entry.made}
    optional = experiment.completion_sets.train.optional
    seen: set[Path] = set()
    for index, line in enumerate(experiment.training.runs):
        loc: Loc = ("training", "runs", index, "data")
        paths = [experiment.resolve(rows.path) for rows in line.data]
        missing = [path for path in dict.fromkeys(paths) if not os.path.exists(path)]
        for path in missing:
            if path not in to_make | seen:
                yield from _file(loc, path, optional, tuple, LATER if optional else HERE)
        seen.update(missing)
        if line.data and not missing:
            most = experiment.settings(line).examples
            yield from _file(loc, paths[0], False, partial(mixture, experiment, line.data, most))


HERE = "correct the path; it is relative to the experiment file."
LATER = "correct the path (relative to the experiment file), or set `optional: true` if it comes later."


def _file(loc: Loc, path: Path, optional: bool, read: Callable[[], object], hint: str = LATER) -> Iterator[Found]:
    if not os.path.exists(path):
        yield loc, f"{path} does not exist. Fix: {hint}", "note" if optional else "error"
        return
    try:
        read()
    except BadInput as error:
        yield loc, str(error), "error"


def _pools(experiment: Experiment) -> Iterator[Found]:
    assert experiment.rephrasings is not None
    settings = experiment.rephrasings
    severity = "note" if settings.optional else "error"
    keys = [prompt.key for prompt in experiment.prompt_list()]
    for field, option in (("path", ""), ("close", " --close")):
        place, loc = getattr(settings, field), ("rephrasings", field)
        if place is None:
            continue
        folder = experiment.resolve(place)
        if not os.path.isdir(folder):
            how = f"`inoc rephrase{option}` makes it (`optional: true` until then)"
            yield loc, f"there is no folder {folder}. Fix: {how}.", severity
            continue
        try:
            for message in read_pools(folder, keys, settings.size)[1]:
                yield loc, message, severity
        except BadInput as error:
            yield loc, str(error), "error"
