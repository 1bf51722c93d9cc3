"""The table as rows: one per prompt and prefix type, one column per number. For terminals, CSV and JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, cast

import numpy as np

from inoc.errors import BadInput
from inoc.heuristics.frame.protocols import Attribute
from inoc.heuristics.frame.table import Table, Variable
from inoc.names import unknown

if TYPE_CHECKING:
    import xarray as xr

CELL = ("prompt", "prefix_type")


@dataclass(frozen=True)
class Column:
    """One number per row.

    Attributes:
        name: The variable with the labels of its other dims: `pca[1]`, `ppd[control]`, `ph_ratio[pca1]`.
        variable: The heuristic or companion.
        values: One for each row.
        attrs: Of the variable.
        labels: Dim -> label, of its other dims.
    """

    name: str
    variable: str
    values: np.ndarray
    attrs: Mapping[str, Attribute]
    labels: Mapping[str, str]

    def bounds(self) -> tuple[str, str]:
        """Names of the columns of its 95 % interval, whether they exist or not."""
        lower, upper = (column_name(f"{self.variable}_ci", {**self.labels, "bound": end}) for end in ("lower", "upper"))
        return lower, upper


def column_name(variable: str, labels: Mapping[str, object]) -> str:
    """`pca[1]`, `trait_svd[German,1]`, `ph_ratio[pca1]`; the raw variant has the bare name, `ph_ratio`."""
    shown = [str(label) for dim, label in labels.items() if (dim, label) != ("variant", "raw")]
    return f"{variable}[{','.join(shown)}]" if shown else variable


@dataclass(frozen=True)
class Rows:
    """Rows of a table with their labels; every column has one value per row."""

    prompts: tuple[str, ...]
    prefix_types: tuple[str, ...]
    roles: tuple[str, ...]
    columns: Mapping[str, Column]

    def take(self, order: Sequence[int]) -> "Rows":
        """The rows at the given places, in that order."""
        at = list(order)
        return Rows(
            tuple(self.prompts[i] for i in at),
            tuple(self.prefix_types[i] for i in at),
            tuple(self.roles[i] for i in at),
            {n: replace(c, values=c.values[at]) for n, c in self.columns.items()},
        )

    def find(self, name: str) -> Column:
        """A column by name; `pca` means `pca[1]`, the first of several.

        Raises:
            BadInput: There is none; the message suggests the nearest.
        """
        for column in self.columns.values():
            if name in (column.name, column.variable):
                return column
        raise BadInput(unknown("column", name, self.columns))

    def sorted_by(self, name: str) -> "Rows":
        """Largest first, NaN last, equal ones in the order of the experiment."""
        values = np.asarray(self.find(name).values, dtype=np.float64)
        key = np.where(np.isnan(values), np.inf, -values)
        return self.take([int(i) for i in np.argsort(key, kind="stable")])


def rows(table: Table) -> Rows:
    """Every variable over `prompt` as columns; those without prefix type repeat over it."""
    prompts = [str(p) for p in table.coords["prompt"][1]]
    kinds = [str(k) for k in table.coords["prefix_type"][1]] if "prefix_type" in table.coords else [""]
    cells = list(product(prompts, kinds))
    roles = [str(r) for r in table.coords["role"][1]] if "role" in table.coords else [""] * len(prompts)
    columns: dict[str, Column] = {}
    for name, variable in table.variables.items():
        if is_per_prompt(variable):
            for column in _columns(name, variable, table, len(prompts), len(kinds)):
                columns[column.name] = column
    return Rows(
        tuple(p for p, _ in cells),
        tuple(k for _, k in cells),
        tuple(roles[prompts.index(p)] for p, _ in cells),
        columns,
    )


def is_per_prompt(variable: Variable) -> bool:
    """Whether the variable gives numbers per prompt, rather than per pair of prompts or of no single prompt."""
    return "prompt" in variable.dims and "other_prompt" not in variable.dims


def _columns(name: str, variable: Variable, table: Table, prompts: int, kinds: int) -> list[Column]:
    other = [dim for dim in variable.dims if dim not in CELL]
    order = [*other, "prompt", *(["prefix_type"] if "prefix_type" in variable.dims else [])]
    values = variable.values.transpose([variable.dims.index(dim) for dim in order])
    if "prefix_type" not in variable.dims:
        values = np.repeat(values[..., None], kinds, axis=-1)
    places = [range(n) for n in values.shape[: len(other)]]
    found: list[Column] = []
    for place in product(*places):
        labels = {d: label(table, d, i) for d, i in zip(other, place, strict=True)}
        numbers = values[place].reshape(prompts * kinds)
        found.append(Column(column_name(name, labels), name, numbers, variable.attrs, labels))
    return found


def label(table: Table, dim: str, i: int) -> str:
    """The label at a place of a dim, or the place where the dim has no labels (a plugin's own)."""
    return str(table.coords[dim][1][i]) if dim in table.coords else str(i)


def document(table: Table, shown: Rows) -> dict[str, object]:
    """The whole result as one JSON value: rows, arrays that are not per prompt, meaning, absences. NaN is null."""
    return {
        **{name: plain(value) for name, value in table.attrs.items()},
        "rows": [
            {
                "prompt": prompt,
                "prefix_type": kind,
                "role": role,
                **{column.name: plain(column.values[i]) for column in shown.columns.values()},
            }
            for i, (prompt, kind, role) in enumerate(zip(shown.prompts, shown.prefix_types, shown.roles, strict=True))
        ],
        "arrays": {
            name: {
                "dims": list(variable.dims),
                "coords": {d: [plain(v) for v in table.coords[d][1]] for d in variable.dims if d in table.coords},
                "values": plain(variable.values),
            }
            for name, variable in table.variables.items()
            if not is_per_prompt(variable)
        },
        "variables": {
            name: {k: plain(v) for k, v in variable.attrs.items()} for name, variable in table.variables.items()
        },
        "absent": dict(table.absent),
        "notes": list(table.notes),
    }


def plain(value: object) -> object:
    """A value as JSON knows it; NaN and infinities become null."""
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(cast(object, value.tolist()))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return [plain(item) for item in cast(Sequence[object], value)] if isinstance(value, list) else value


def records(table: "xr.Dataset") -> list[dict[str, object]]:
    """The rows of a table (dim `row`) as JSON knows them: coordinates first, then variables."""
    names = [str(name) for name in (*table.coords, *table.data_vars)]
    return [{name: plain(table[name].values[i]) for name in names} for i in range(table.sizes["row"])]


def absences(table: Table) -> dict[str, list[str]]:
    """Reason -> heuristics that are absent for it."""
    found: dict[str, list[str]] = {}
    for name, reason in table.absent.items():
        found.setdefault(reason, []).append(name)
    return found


def nan_counts(table: Table) -> dict[str, int]:
    """Variable -> number of NaN in it, where there are any."""
    return {name: n for name, v in table.variables.items() if isinstance(n := v.attrs.get("nan"), int) and n}
