"""Writing /probes: one subgroup per probe with what the inside of the base model says about each prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from inoc.errors import BadInput, OtherSettings
from inoc.store.fingerprint import difference, refuse
from inoc.store.marks import Part, put_marked
from inoc.store.reader import Reader
from inoc.store.schema import check_name, spec_of
from inoc.store.staging import transaction
from inoc.store.tables import make_room, same, stage_columns, union, unique

LABELS = ("example", "reference", "layer", "completion_set")


@dataclass(frozen=True)
class ProbePlan:
    """What a probe measures, and the values that all its units share.

    Attributes:
        name: Of the probe.
        settings: What decides the values; must equal those stored.
        columns: Variables written whole: labels, and references that units are compared with.
        values: Names of the variables that each unit has.
        prefix_types, prompts: The units: every prefix type with every prompt.
    """

    name: str
    settings: Mapping[str, object]
    columns: Mapping[str, np.ndarray | Sequence[str]]
    values: Sequence[str]
    prefix_types: Sequence[str]
    prompts: Sequence[str]


def plan_probe(store: Reader, plan: ProbePlan) -> None:
    """Make room for the units of a probe; adding prefix types or prompts extends it. References stay as first stored.

    Args:
        plan: What is measured.

    Raises:
        OtherSettings: The probe is stored with other settings, examples or layers.
        BadInput: A prompt is not stored.
    """
    where = f"probes/{check_name(plan.name, 'probe')}"
    unique(plan.prompts, "prompt")
    stored = store.labels("prompts/prompt") if store.has("prompts") else ()
    if lost := [key for key in plan.prompts if key not in stored]:
        raise BadInput(f"prompt {lost[0]!r} is to be probed but not stored. Fix: store it with put_prompts first.")
    labels = {"prefix_type": list(plan.prefix_types), "prompt": list(plan.prompts)}
    if there := store.has(where):
        before = cast("Mapping[str, object]", store.attributes(where)["settings"])
        refuse(store.path, difference(before, plan.settings, f"{where}."))
        for name in (name for name in LABELS if name in plan.columns):
            if not same(store, where, {name: plan.columns[name]}):
                raise OtherSettings(f"{store.path}: /{where}/{name} is stored with others. Fix: choose another store.")
        known = {name: store.labels(f"{where}/{name}") for name in labels}
        if all({*new} <= {*known[name]} for name, new in labels.items()):
            return
        labels = {name: union(known[name], new) for name, new in labels.items()}
    sizes = {name: len(values) for name, values in labels.items()}
    for name, values in plan.columns.items():
        sizes |= dict(zip(spec_of(f"{where}/{name}").dims, np.shape(values), strict=True))
    with transaction(store.path) as change:
        if not there:
            change.group(where, {"settings": dict(plan.settings)})
            stage_columns(change, where, plan.columns)
        stage_columns(change, where, labels)
        make_room(change, store, where, {**dict.fromkeys(plan.values, 2), "unit_crc": 2}, sizes)


def put_probe(store: Reader, name: str, prefix_type: str, prompt: str, values: Mapping[str, np.ndarray]) -> None:
    """Store a planned unit of a probe: data, then its marker.

    Args:
        name: Of the probe.
        prefix_type, prompt: The unit.
        values: Every variable that its plan names, in the units of the schema.

    Raises:
        BadInput: The unit is not planned, or a value is missing, of wrong shape or not finite.
    """
    where, unit = f"probes/{name}", f"{name}/{prefix_type}/{prompt}"
    if not store.has(where):
        raise BadInput(f"the probe {name!r} is not planned. Fix: call plan_probe first.")
    kinds, keys = (store.labels(f"{where}/{v}") for v in ("prefix_type", "prompt"))
    if prefix_type not in kinds or prompt not in keys:
        raise BadInput(f"{unit} is not planned. Fix: call plan_probe with its prefix type and prompt.")
    cell = kinds.index(prefix_type), keys.index(prompt)
    asked = {member.where.rpartition("/")[2]: member.layout for member in store.members(where, "unit_crc")}
    if asked.keys() != values.keys():
        raise BadInput(f"{unit}: {', '.join(values)} given for {', '.join(asked)}. Fix: give each variable once.")
    parts: list[Part] = []
    for variable, layout in asked.items():
        value = np.asarray(values[variable], np.dtype(layout.dtype).newbyteorder("<"))
        if value.shape != layout.shape[2:] or not np.isfinite(value).all():
            raise BadInput(
                f"{unit}: {variable} has shape {value.shape}, expected {layout.shape[2:]}, every value finite."
            )
        parts.append(Part(variable, (*cell, *(slice(None),) * value.ndim), value, "data"))
    put_marked(store, where, "unit_crc", cell, parts)
