"""Exports on disk."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import pandas as pd
import yaml

from inoc._version import __version__
from inoc.atomic import write_file
from inoc.errors import BackendUnavailable, BadInput
from inoc.exports.inspect_log import inspect_logs
from inoc.exports.table import ABOUT, Wide, wide
from inoc.store.store import Store
from inoc.values import Recipe

Format = Literal["csv", "parquet", "latex", "inspect", "hub"]
FORMATS: Final[Mapping[Format, str]] = {
    "csv": "one wide table, and STEM.columns.csv that says what its columns are",
    "parquet": "the same table as Parquet",
    "latex": "a table of chosen columns",
    "inspect": "a folder of evaluation logs that `inspect view` shows: answers and scores",
    "hub": "a folder for a data-set repository: the table as Parquet and a card; nothing is uploaded",
}


def export(
    store: Store, out: Path, to: Format, *, columns: tuple[str, ...] = (), recipe: Recipe = "corrected"
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write a store for other tools; files of the same names are replaced.

    Args:
        store: The store to read.
        out: The file; the folder for "inspect" and "hub".
        to: One of `FORMATS`.
        columns: Of the table, beside those that say which prompt it is; empty for all, for "latex" for the main ones.
        recipe: "corrected" or "published".

    Returns:
        The files, and sentences about what the store lacks.

    Raises:
        BadInput: A file cannot be written, or a column does not exist.
        IncompleteStore: The store has nothing to export in this format.
        BackendUnavailable: A library is missing.
    """
    if to == "inspect":
        logs = {f"{_file_name(name)}.json": json.dumps(log, ensure_ascii=False) for name, log in inspect_logs(store)}
        return _written({_folder(out) / name: text.encode("utf-8", "replace") for name, text in logs.items()}), ()
    made = wide(store, recipe=recipe)
    table = _chosen(made.table, columns or (_main(made.table) if to == "latex" else ()))
    if to == "latex":
        return _written({out: _latex(table, made).encode()}), made.notes
    about = pd.DataFrame.from_dict({k: v for k, v in made.columns.items() if k in table}, orient="index")
    about.index.name = "column"
    if to == "csv":
        files = {out: table.to_csv(index=False).encode(), out.with_suffix(".columns.csv"): about.to_csv().encode()}
        return _written(files), made.notes
    data = _parquet(table)
    if to == "parquet":
        return _written({out: data, out.with_suffix(".columns.csv"): about.to_csv().encode()}), made.notes
    card = _card(store, table, about, made.notes)
    return _written({_folder(out / "data") / "prompts.parquet": data, out / "README.md": card.encode()}), made.notes


def _main(table: pd.DataFrame) -> tuple[str, ...]:
    """The outcomes, else the heuristics that a paper shows first."""
    outcomes = tuple(str(c) for c in table.columns if re.fullmatch(r"(suppression|loss)\[[^\]]*\]", str(c)))
    return outcomes + tuple(name for name in ("ph", "gamma", "elicitation") if name in table)


def _chosen(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    from inoc.names import refuse_unknown

    refuse_unknown("column", columns, [str(column) for column in table.columns])
    return table if not columns else table[["prompt", *ABOUT, "prefix_type", *columns]]


def _parquet(table: pd.DataFrame) -> bytes:
    try:
        return table.to_parquet(index=False)
    except ImportError:
        raise BackendUnavailable("Parquet needs pyarrow. Fix: pip install pyarrow, or export csv.") from None


def _latex(table: pd.DataFrame, made: Wide) -> str:
    """A booktabs table; numbers with their interval in brackets where there is one."""
    shown = pd.DataFrame({"prompt": table["prompt"], "group": table["group"], "prefix": table["prefix_type"]})
    for name in table.columns[len(ABOUT) + 2 :]:
        ends = [pair for pair in ((f"{name}_lower", f"{name}_upper"), (f"{name}_ci[lower]", f"{name}_ci[upper]"))
                if pair[0] in made.table]  # fmt: skip
        values = [made.table[column].tolist() for column in (name, *(ends[0] if ends else ()))]
        shown[name] = [_number(*row) for row in zip(*values, strict=True)]
    lines = [[_escaped(str(cell)) for cell in row] for row in (list(shown.columns), *shown.values.tolist())]
    head, *body = [" & ".join(row) + r" \\" for row in lines]
    align = "lll" + "r" * (shown.shape[1] - 3)
    return "\n".join([rf"\begin{{tabular}}{{{align}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule",
                      r"\end{tabular}", ""])  # fmt: skip


def _number(value: float, lower: float | None = None, upper: float | None = None) -> str:
    if pd.isna(value):
        return "--"
    return f"{value:.3g}" if lower is None or pd.isna(lower) else f"{value:.3g} [{lower:.3g}, {upper:.3g}]"


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\textbackslash ")
    return re.sub(r"([&%$#_{}])", r"\\\1", text).replace("~", r"\textasciitilde ").replace("^", r"\textasciicircum ")


def _card(store: Store, table: pd.DataFrame, about: pd.DataFrame, notes: tuple[str, ...]) -> str:
    """A data-set card: what the rows are, what every column is, what is missing."""
    name = str(store.experiment.get("name") or store.path.stem)
    front = {
        "pretty_name": f"{name}: inoculation prompts",
        "tags": ["inoculation-prompting", "inoc"],
        "configs": [{"config_name": "default", "data_files": "data/prompts.parquet"}],
    }
    rows = ["| `" + "` | ".join(str(cell).replace("|", r"\|").replace("\n", " ") for cell in row) + " |"
            for row in about.reset_index().values.tolist()]  # fmt: skip
    model = store.identity.get("model") or "unknown"
    return "\n".join([
        "---", yaml.safe_dump(front, sort_keys=False).rstrip(), "---", "",
        f"# {front['pretty_name']}", "",
        f"{len(table)} rows, one per inoculation prompt and prefix type, of base model `{model}`. Made by inoc "
        f"{__version__} from {store.path.name}; intervals are 95 %, pp are points of a score from 0 to 100.", "",
        "| column | what | units | n | source |", "|---|---|---|---|---|", *rows, "",
        "## Missing", "", *([f"- {note}" for note in notes] or ["Nothing."]), "",
    ])  # fmt: skip


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:150]


def _written(files: Mapping[Path, bytes]) -> tuple[Path, ...]:
    for path, content in files.items():
        write_file(path, content)
    return tuple(files)


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{path} cannot be made ({error.strerror}). Fix: choose another folder with --out.") from error
    return path
