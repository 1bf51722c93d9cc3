"""A pooled results table: CSV with a row per experiment, prompt, trait and prefix type, as tidy rows and back."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.errors import BadInput
from inoc.outcomes.final import other_judges
from inoc.reading import UNPRINTABLE, read_text
from inoc.values import Recipe

LABELS = {"experiment": "", "prompt": "prompt_key", "family": "prompt_family", "trait": "trait_name", "prefix_type": ""}
"""Columns that say what a row is, and the other name each may have."""
OUTCOMES = {"suppression": "", "control": "no_inoc_score", "cross": "", "gap": "", "cross_control": ""}
"""Columns of what training did (pp), and the other name each may have."""
OTHERS = ("on_target", "effect", "trait_family", "judge", "prompt_text", "prompt_group", "trait_role", "inoc_score",
          "n_eval", "suppression_ci_lo", "suppression_ci_hi")  # fmt: skip
"""Columns that are not heuristics."""
HEURISTICS: Mapping[str, tuple[str, str]] = {
    "ph": ("ph_combined", "ph_mix_all"),
    "abs_minus_signed": ("h12_abs_minus_signed", "h12_abs_minus_signed_mix"),
    "mean_abs": ("h11_mean_abs_diff", "h11_mean_abs_diff_mix"),
    "mean_square": ("h13_mean_sq_diff", "h13_mean_sq_diff_mix"),
    "mean_signed": ("h14_mean_signed_tok_diff", "h14_mean_signed_tok_diff_mix"),
    "filtered": ("ha2_filter", "ha2_filter_mix"),
    "top_quarter": ("ha3_topk", "ha3_topk_mix"),
    "gradient": ("ha4_grad_mag", "ha4_grad_mag_mix"),
    "filtered_gradient": ("ha5_filter_grad", "ha5_filter_grad_mix"),
    **{
        name: (column, column)
        for name, column in (
            ("self_perplexity_raw", "selfperp_raw"), ("self_perplexity_context", "selfperp_ctx"),
            ("rephrase_mean", "emb_rephrase_mean_cos"), ("rephrase_std", "emb_rephrase_std_cos"),
            ("rephrase_min_cos", "emb_rephrase_min_cos"), ("rephrase_effective_rank", "emb_rephrase_eff_rank"),
            ("distance_from_neutral", "emb_dist_from_neutral"), ("cos_to_negative", "emb_cos_to_neg_trait"),
            ("cos_to_positive", "emb_cos_to_pos_trait"), ("cosine", "w_cos"),
        )
    },
}  # fmt: skip
"""Heuristics under the names of published tables: the columns of the fixed and of the mix rows."""
MAX_ROWS = 1_000_000


class _Row(NamedTuple):
    where: str
    cells: Mapping[str, str]


def read_rows(paths: Path | Sequence[Path], *, recipe: Recipe = "corrected") -> xr.Dataset:
    """Pooled results tables as the tidy rows that `performance_of` and `predict_of` take.

    Needed are the columns `experiment`, `prompt`, `family`, `trait`, `prefix_type`, `suppression` and `control` (pp).
    Every other column of numbers is a heuristic; an empty cell is missing. The names of the published tables
    (`prompt_key`, `no_inoc_score`, `h13_mean_sq_diff`, ...) are known. `cross`, `cross_control` and `gap` are made
    from the other rows where they are not given; `on_target` from the families, or from `trait_family`.

    Args:
        paths: One CSV file or several; each experiment is in one of them.
        recipe: "corrected", or "published" (the column `judge` may then differ within a trait).

    Returns:
        The Dataset of `rows`; the attribute `ignored` names columns of text that it leaves out.

    Raises:
        BadInput: A file cannot be read, lacks a column, or a cell is wrong; the message names file, line and column.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    tables: list[xr.Dataset] = []
    judges: dict[str, dict[str, str]] = {}
    for path in given:
        columns, rows = _read(path)
        table = _tidy(path, columns, rows)
        for row, trait in zip(rows, table["trait"].values.tolist(), strict=True):
            if judge := row.cells.get("judge", ""):
                judges.setdefault(trait, {}).setdefault(judge, row.where)
        tables.append(table)
    for trait, seen in judges.items():
        if len(seen) > 1 and recipe != "published":
            raise other_judges(trait, seen)
    return pooled(tables).assign_attrs(recipe=recipe)


def pooled(tables: Sequence[xr.Dataset]) -> xr.Dataset:
    """Tidy rows of several sources as one table; a heuristic that one of them lacks is missing there.

    Args:
        tables: What `inoc.outcomes.rows` and `read_rows` return, at least one.

    Returns:
        The Dataset of `rows`.

    Raises:
        BadInput: Two of them have an experiment of the same name.
    """
    names = [name for table in tables for name in dict.fromkeys(table["experiment"].values.tolist())]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadInput(f"two tables have the experiment {twice!r}. Fix: rename one, or give each table once.")
    lists: dict[str, list[str]] = {}
    for name in ("left_out", "absent", "ignored"):
        lines = [str(line) for table in tables for line in table.attrs.get(name, [])]
        lists[name] = list(dict.fromkeys(lines))
    joined = xr.concat(list(tables), dim="row", join="outer", combine_attrs="drop_conflicts")
    return joined.assign_attrs(**lists)


def rows_csv(table: xr.Dataset) -> str:
    """Tidy rows as the text of a pooled results table; `read_rows` reads it back.

    Args:
        table: What `inoc.outcomes.rows` returns.

    Returns:
        Text in UTF-8 with one header line; a missing number is an empty cell.
    """
    heuristics = [str(name) for name in table["heuristic"].values]
    labels = [*LABELS, *(name for name in ("effect", "on_target") if name in table.coords)]
    names = [name for name in OUTCOMES if name in table]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*labels, *names, *heuristics])
    numbers = [*(table[name].values for name in names), *table["heuristic_value"].transpose("heuristic", "row").values]
    for i in range(table.sizes["row"]):
        values = [float(column[i]) for column in numbers]
        said = [str(table[name].values[i]) for name in labels]
        writer.writerow([*said, *("" if math.isnan(value) else repr(value) for value in values)])
    return out.getvalue()


def _read(path: Path) -> tuple[list[str], list[_Row]]:
    """The header and the rows of a file, each with the place it is from."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[_Row] = []
    try:
        header = [name.strip() for name in next(reader, list[str]())]
        for name in header:
            if not name or header.count(name) > 1 or UNPRINTABLE.search(name):
                raise BadInput(f"{path}: the column {name!r} comes twice or has no proper name. Fix: rename it.")
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise BadInput(f"{where} has {len(cells)} cells, the header has {len(header)}. Fix: correct the row.")
            if len(rows) >= MAX_ROWS:
                raise BadInput(f"{path} has more than {MAX_ROWS:,} rows. Fix: split the file.")
            rows.append(_Row(where, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num}: not CSV ({error}). Fix: write the file again.") from None
    if not rows:
        raise BadInput(f"{path} has no rows. Fix: write a header and a row per experiment, prompt, trait and prefix.")
    return header, rows


def _tidy(path: Path, columns: Sequence[str], rows: Sequence[_Row]) -> xr.Dataset:
    """The rows of one file as a Dataset."""
    places = {name: name if name in columns else other for name, other in (LABELS | OUTCOMES).items()}
    for name in (*LABELS, "suppression", "control"):
        if places[name] not in columns:
            raise BadInput(f"{path} has no column {name!r}. Fix: add it; its columns are {', '.join(columns[:20])}.")
    labels = {name: [_label(row, places[name]) for row in rows] for name in LABELS}
    kinds = set(labels["prefix_type"])
    if not kinds <= {"fixed", "mix"}:
        wrong = next(row for row, kind in zip(rows, labels["prefix_type"], strict=True) if kind not in ("fixed", "mix"))
        raise BadInput(f"{wrong.where}: prefix_type is not fixed or mix. Fix: leave out the control's row.")
    cells = list(zip(*(labels[name] for name in ("experiment", "prompt", "prefix_type", "trait")), strict=True))
    first: dict[tuple[str, ...], str] = {}
    for cell, row in zip(cells, rows, strict=True):
        if cell in first:
            raise BadInput(f"{row.where} and {first[cell]} are about the same {' / '.join(cell)}. Fix: keep one.")
        first[cell] = row.where
    outcomes = {
        name: _numbers(rows, places[name], *((0.0, 100.0) if "control" in name else (-100.0, 100.0)))
        for name in OUTCOMES
        if places[name] in columns
    }
    _add_others(outcomes, cells)
    used = {*places.values(), *OTHERS}
    heuristics, ignored = _heuristics([name for name in columns if name not in used], rows, labels["prefix_type"])
    matrix = np.array(list(heuristics.values()), dtype=np.float64).reshape(len(heuristics), len(rows))
    return xr.Dataset(
        {
            **{name: ("row", values, {"units": "pp"}) for name, values in outcomes.items()},
            "heuristic_value": (("heuristic", "row"), matrix),
        },
        coords={
            **{name: ("row", np.array(values, dtype=object)) for name, values in labels.items()},
            "effect": ("row", np.array([_effect(row) for row in rows], dtype=object)),
            "on_target": ("row", np.array(list(_on_target(columns, rows, labels)), dtype=bool)),
            "heuristic": np.array(list(heuristics), dtype=object),
        },
        attrs={"ignored": [f"{path.name}: {name}" for name in ignored]},
    )


def _label(row: _Row, column: str) -> str:
    text = row.cells[column].strip()
    if not text or UNPRINTABLE.search(text):
        raise BadInput(f"{row.where}: {column} is empty or has a control character. Fix: write plain text.")
    return text


def _number(row: _Row, column: str, low: float = -1e300, high: float = 1e300) -> float:
    text = row.cells[column].strip()
    if text.lower() in ("", "nan", "na"):
        return math.nan
    try:
        value = float(text) if text.isascii() else math.inf
    except ValueError:
        value = math.inf
    if not low <= value <= high:
        bounds = "a number" if high > 100 else f"a number from {low:g} to {high:g}"
        raise BadInput(f"{row.where}: {column} is {text[:40]!r}, not {bounds}. Fix: correct it, or leave it empty.")
    return value


def _numbers(
    rows: Sequence[_Row], column: str, low: float = -1e300, high: float = 1e300
) -> Float64[np.ndarray, " row"]:
    return np.array([_number(row, column, low, high) for row in rows])


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _heuristics(
    columns: Sequence[str], rows: Sequence[_Row], kinds: Sequence[str]
) -> tuple[dict[str, Float64[np.ndarray, " row"]], list[str]]:
    """Values by name, and the columns that hold no number at all."""
    ignored = [
        name
        for name in columns
        if any(row.cells[name].strip() for row in rows) and not any(_is_number(row.cells[name]) for row in rows)
    ]
    found = {name: _numbers(rows, name) for name in columns if name not in ignored}
    mix = np.array(kinds) == "mix"
    for name, (fixed, varied) in HEURISTICS.items():
        own = found.get(name)
        if fixed in found and varied in found and (own is None or not np.isfinite(own).any()):
            found[name] = np.where(mix, found[varied], found[fixed])
    taken = {column for name, pair in HEURISTICS.items() if name in found for column in pair if column != name}
    return {name: values for name, values in found.items() if name not in taken}, ignored


def _add_others(outcomes: dict[str, Float64[np.ndarray, " row"]], cells: Sequence[tuple[str, ...]]) -> None:
    """`cross`, `cross_control` and `gap` from the suppression of the other trait and of both prefix types."""
    place = {cell: i for i, cell in enumerate(cells)}
    traits: dict[str, list[str]] = {}
    for experiment, _, _, trait in cells:
        if trait not in traits.setdefault(experiment, []):
            traits[experiment].append(trait)

    def at(name: str, cell: tuple[str, str, str, str]) -> float:
        return float(outcomes[name][place[cell]]) if cell in place else math.nan

    def other(cell: tuple[str, ...]) -> tuple[str, str, str, str]:
        experiment, prompt, kind, trait = cell
        others = [name for name in traits[experiment] if name != trait]
        return experiment, prompt, kind, others[0] if len(others) == 1 else ""

    for name, source in (("cross", "suppression"), ("cross_control", "control")):
        if name not in outcomes:
            outcomes[name] = np.array([at(source, other(cell)) for cell in cells])
    if "gap" not in outcomes:
        outcomes["gap"] = np.array(
            [at("suppression", (e, p, "fixed", t)) - at("suppression", (e, p, "mix", t)) for e, p, _, t in cells]
        )


def _effect(row: _Row) -> str:
    """What the suppression of a row is called: loss where its trait is wanted."""
    wanted = row.cells.get("trait_role", "") == "positive"
    return row.cells.get("effect") or ("loss" if wanted else "suppression")


def _on_target(columns: Sequence[str], rows: Sequence[_Row], labels: Mapping[str, Sequence[str]]) -> Iterator[bool]:
    """Whether the prompt's family is the row's trait, or neutral: as the file says, or by the names."""
    for row, family, trait in zip(rows, labels["family"], labels["trait"], strict=True):
        said = row.cells.get("on_target", "").strip().lower()
        if said not in ("", "true", "false", "1", "0"):
            raise BadInput(f"{row.where}: on_target is {said[:40]!r}. Fix: write true or false, or leave it empty.")
        asked = row.cells.get("trait_family", "").strip() or trait
        yield said in ("true", "1") if said else family == "neutral" or family.casefold() == asked.casefold()
