"""What pydantic found, as sentences that name the fix."""

import json
import re
from collections.abc import Iterator
from typing import cast

from pydantic_core import ErrorDetails

from inoc.experiment.models import Experiment
from inoc.experiment.yaml_file import Loc
from inoc.names import unknown
from inoc.values import Json

SECRET_NAME = re.compile(r"(?:api|access|auth|private|secret)[-_]?key|secret|passw|token$|credential|bearer", re.I)
SECRET_VALUE = re.compile(
    r"^(?:Bearer\s|sk-\w|ow_\w{8}|hf_\w{8}|tml-\w{8}|gh[opsu]_\w{8}|xox[a-z]-|AKIA\w{8}|-----BEGIN|eyJ[\w-]{16,}\.)"
)


def is_secret(name: str, value: object) -> bool:
    """Does this field look like a key or password? Names that end in `_env` hold the name of a variable."""
    named = bool(SECRET_NAME.search(name)) and not name.endswith("_env")
    return isinstance(value, str) and (named or bool(SECRET_VALUE.match(value)))


def at(data: Json, loc: Loc) -> Json:
    for part in loc:
        if isinstance(data, dict) and str(part) in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def written(error: ErrorDetails, data: Json) -> Loc:
    """The error's place without the parts that pydantic adds (names of union members, `[key]`)."""
    loc: Loc = ()
    for part in error["loc"]:
        parent = at(data, loc)
        if isinstance(parent, dict) and str(part) in parent:
            loc = (*loc, str(part))
        elif isinstance(parent, list) and isinstance(part, int):
            loc = (*loc, part)
    return loc


def sentence(error: ErrorDetails, data: Json = None) -> str:
    """What is wrong, and its fix."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    last = error["loc"][-1] if error["loc"] else ""
    shown = "" if isinstance(value, dict | list) or is_secret(str(last), value) else f" (it is {json.dumps(value)})"
    match kind:
        case "missing":
            return f"the field {last!r} is missing. Fix: add `{last}: ...`."
        case "extra_forbidden":
            known = _fields(written(error, data)[:-1])
            return unknown("field", str(last), known)
        case "literal_error":
            return f"must be {context.get('expected')}{shown}."
        case "string_type":
            return f"not text{shown}. Fix: put it in quotes."
        case "string_pattern_mismatch":
            return f"may hold letters, digits, '_', '-' and '.' as in {context.get('pattern')}{shown}."
        case "string_too_short" | "too_short":
            return "must not be empty."
        case "int_type" | "int_from_float" | "int_parsing":
            return f"must be a whole number{shown}."
        case "float_type" | "finite_number":
            return f"must be a number{shown}."
        case "bool_type":
            return f"must be true or false{shown}."
        case "model_type" | "dict_type" | "model_attributes_type" | "mapping_type":
            return f"must be a mapping of fields (indented lines `key: value`){shown}."
        case "tuple_type" | "list_type":
            return f"must be a list, such as [a, b]{shown}."
        case "union_tag_not_found":
            return "the field 'kind' is missing. Fix: write logprob, chat, language, lexical, misalignment or plugin."
        case "union_tag_invalid":
            return f"kind must be one of {context.get('expected_tags')}."
        case _:
            return f"{error['msg'].removeprefix('Input ').removeprefix('Value error, ')}{shown}."


def _fields(loc: Loc) -> list[str]:
    """The names allowed at a place, read from the schema."""
    schema = cast(dict[str, Json], Experiment.model_json_schema())
    definitions = cast(dict[str, Json], schema["$defs"])

    def members(node: Json) -> Iterator[dict[str, Json]]:
        if isinstance(node, dict):
            if "$ref" in node:
                yield from members(definitions[str(node["$ref"]).rsplit("/", 1)[1]])
            for branch in ("anyOf", "oneOf"):
                for member in cast(list[Json], node.get(branch, [])):
                    yield from members(member)
            yield node

    nodes = list(members(schema))
    for part in loc:
        inner: list[Json] = []
        for node in nodes:
            properties = cast(dict[str, Json], node.get("properties", {}))
            pattern = cast(dict[str, Json], node.get("patternProperties", {}))
            step = [properties.get(str(part)), node.get("additionalProperties"), node.get("items"), *pattern.values()]
            inner += [item for item in step if item]
        nodes = [member for item in inner for member in members(item)]
    return sorted({name for node in nodes for name in cast(dict[str, Json], node.get("properties", {}))})
