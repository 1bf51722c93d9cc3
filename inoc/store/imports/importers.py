"""Which importer reads which files: inoc's own formats, then those of plugins (group `inoc.importers`)."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Final, cast

from inoc.errors import BadInput
from inoc.options import read_options
from inoc.plugins import Plugin, Registry
from inoc.store.imports.logprobs import LogprobSource, read_json
from inoc.store.imports.outcomes import RunSource
from inoc.store.imports.reading import head, load_jsonl
from inoc.store.imports.rows import Gathered, Importer, LogprobRow
from inoc.values import Scalar

SHIPPED: Final[Mapping[str, str]] = {
    "arrays": f"{__name__}:Arrays",
    "rows": f"{__name__}:Rows",
    "lm_eval": "inoc.store.imports.lm_eval:LmEval",
    "inspect": "inoc.store.imports.inspect_logs:InspectLogs",
    "prompt_logprobs": "inoc.store.imports.prompt_logprobs:PromptLogprobs",
}


def _class(loaded: object, plugin: Plugin) -> type[Importer]:
    if not isinstance(loaded, type) or not all(hasattr(loaded, name) for name in ("sniff", "read")):
        raise TypeError(f"{plugin.target} is not a class with sniff and read")
    return cast(type[Importer], loaded)


IMPORTERS: Final = Registry("inoc.importers", "importer", SHIPPED, _class)


class Arrays:
    """One JSON object of arrays by prompt: docs/store.md, Importing."""

    def sniff(self, paths: Sequence[Path]) -> bool:
        starts = ('{"params"', '{"baseline', '{"prompts"')
        return all("".join(head(path).split())[:12].startswith(starts) for path in paths)

    def read(self, paths: Sequence[Path]) -> Iterator[LogprobSource]:
        yield from map(read_json, paths)


class Rows:
    """JSONL with one row per prompt, prefix type and example: docs/store.md, Importing."""

    def sniff(self, paths: Sequence[Path]) -> bool:
        return all('"prefix_type"' in head(path) and '"logprobs"' in head(path) for path in paths)

    def read(self, paths: Sequence[Path]) -> Iterator[LogprobRow | str]:
        known = {"prompt", "prefix_type", "example_id", "token_ids", "logprobs", "completion_set", "instruction",
                 "completion", "rephrasing", "text"}  # fmt: skip
        for path in paths:
            for row in load_jsonl(path):
                kind, prompt, pick = row["prefix_type"].text(), row.get("prompt"), row.get("rephrasing")
                yield LogprobRow(
                    str(row["example_id"].value),
                    row["logprobs"],
                    prompt.text() if prompt.value and kind != "none" else "",
                    kind,
                    [token.integer() for token in row["token_ids"].rows()],
                    completion_set=row.get("completion_set", "train").text(),
                    text=row.get("text", "").text(),
                    instruction=row["instruction"].text() if "instruction" in row else None,
                    completion=row["completion"].text() if "completion" in row else None,
                    rephrasing=None if pick.value is None else pick.integer(),
                    where=row.where,
                )
                yield from (f"{path.name}: {extra}" for extra in row.fields if extra not in known)


@dataclass
class Read:
    """What the importers made of all files."""

    parts: list[LogprobSource]
    runs: list[RunSource]
    plugins: list[Plugin | None]


def read_files(paths: Sequence[Path], name: str | None, options: Sequence[str]) -> Read:
    """Read files of results, all by the importer `name` (or `module:class`) with its options `NAME=VALUE`, else each by
    the one that knows its format.

    Raises:
        BadInput: A file is wrong, or there is no such importer or option.
        BackendUnavailable: The importer named cannot be loaded.
    """
    if options and name is None:
        raise BadInput("--option is for an importer that is named. Fix: name it with --format.")
    found = Read([], [], [])
    for chosen, files in _groups(paths, name):
        importer = _made(chosen, options)
        found.plugins.append(IMPORTERS.find(chosen))
        gathered, notes, read = Gathered(files[0]), dict[str, None](), list[LogprobSource]()
        for item in importer.read(files):
            if isinstance(item, LogprobSource):
                read.append(item)
            elif isinstance(item, str):
                notes.setdefault(item)
            else:
                gathered.add(item)
        if gathered.any or not read:
            gathered.finish()
            read.append(gathered.source)
        read[-1].ignored += notes
        found.parts += read
        found.runs += gathered.runs.values()
    return found


def _made(name: str, options: Sequence[str]) -> Importer:
    kind, given = IMPORTERS.get(name), dict[str, Scalar]()
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise BadInput(f"--option {option} is not NAME=VALUE. Fix: write it so.")
        given[key] = text
    if is_dataclass(kind):
        return read_options(kind, f"the importer {name}", given)
    if given:
        raise BadInput(f"the importer {name} has no options. Fix: leave out --option.")
    return kind()


def _groups(paths: Sequence[Path], name: str | None) -> list[tuple[str, list[Path]]]:
    """Importers and their files; rows of one format are read together."""
    if name is not None:
        return [(name, list(paths))]
    sniffers = {other: _made(other, ()) for other in IMPORTERS.names() if IMPORTERS.offered(other) is not None}

    def sniff(files: Sequence[Path]) -> str | None:
        return next((other for other, importer in sniffers.items() if _sniffs(other, importer, files)), None)

    together = sniff(paths) if len(paths) > 1 else None
    if together not in (None, "arrays", "rows"):
        return [(together, list(paths))]
    return [(sniff([path]) or ("rows" if path.suffix == ".jsonl" else "arrays"), [path]) for path in paths]


def _sniffs(name: str, importer: Importer, files: Sequence[Path]) -> bool:
    try:
        return bool(importer.sniff(files))
    except Exception as error:
        if name in SHIPPED:
            raise
        warnings.warn(
            f"importer {name!r} of {IMPORTERS.find(name)} failed while it looked at a file: {type(error).__name__}: "
            f"{error}. Fix: repair or uninstall it.",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
