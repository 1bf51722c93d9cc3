"""Completion sets that are made once: written as JSONL with a record of where they came from."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inoc.errors import BadInput, BadResult
from inoc.experiment import Dataset, Example, Experiment, read_turns
from inoc.experiment.datasets import DATASETS, dataset_rows, split_name
from inoc.names import unknown
from inoc.plugins import versions
from inoc.stages.work import write_rows, write_whole


class Generated(NamedTuple):
    """One completion set: rows written, and rows left out because they were empty or repeated."""

    name: str
    path: Path
    rows: int
    empty: int
    repeated: int


def write_set(name: str, path: Path, examples: Sequence[Example], record: Mapping[str, object]) -> Generated:
    """Write a completion set without empty and repeated rows, and `record` next to it as `<name>.made.json`;
    BadResult where no row is left."""
    kept: dict[tuple[str, str], Example] = {}
    empty = 0
    for example in examples:
        if example.completion.strip():
            kept.setdefault((example.instruction, example.completion), example)
        else:
            empty += 1
    if not kept:
        raise BadResult(f"completion set {name}: all {empty} rows are empty.")
    repeated = len(examples) - empty - len(kept)
    left_out = {"empty": empty, "repeated": repeated}
    about = {**record, "rows": len(kept), "left_out": left_out}
    write_whole(path.with_suffix(".made.json"), json.dumps(about, indent=1, ensure_ascii=False))
    fields = ("id", "instruction", "completion", "finish")
    write_rows(path, [{field: getattr(example, field) for field in fields} for example in kept.values()])
    return Generated(name, path, len(kept), empty, repeated)


def from_dataset(experiment: Experiment, name: str, source: Dataset) -> Generated:
    """Copy a split of a dataset, from a folder, the hub or a plugin, into the completion set's file."""
    folder = experiment.resolve(source.name)
    place = str(folder) if folder.is_dir() else source.name
    columns = [source.messages] if source.messages else [source.instruction, source.completion]
    system = experiment.model.system_prompt
    rows: list[Example] = []
    for i, row in enumerate(dataset_rows(place, source.split, source.revision)):
        missing = [column for column in columns if column not in row]
        if missing:
            raise BadInput(f"dataset {source.name}: {unknown('column', missing[0], row)}")
        rows.append(_example(i, row, source, system))
    plugins = versions([DATASETS.find(split_name(place)[0])])
    record = {"dataset": source.model_dump(), "revision": source.revision, "rows_read": len(rows)}
    record |= {"plugins": plugins} if plugins else {}
    return write_set(name, experiment.completion_path(name), rows, record)


def _example(i: int, row: Mapping[str, object], source: Dataset, system_prompt: str | None) -> Example:
    where = f"dataset {source.name}, row {i}"
    if source.messages:
        turns = read_turns(row[source.messages], where, system_prompt)
        texts = [turns.get("user"), turns.get("assistant")]
    else:
        texts = [row[source.instruction], row[source.completion]]
    if not all(isinstance(text, str) for text in texts):
        raise BadInput(f"{where}: one instruction and one completion (text) are needed. Fix: name other columns.")
    return Example(str(i), str(texts[0]), str(texts[1]))
