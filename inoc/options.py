"""Options of an experiment file as a dataclass: for backends, judges and services."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from inoc.errors import BadInput
from inoc.names import refuse_unknown
from inoc.values import Scalar

T = TypeVar("T")


def read_options(kind: type[T], owner: str, options: Mapping[str, Scalar] | None) -> T:
    """Check options and give missing ones their defaults.

    Args:
        kind: The dataclass; every field has a default.
        owner: Whose options they are, for errors, such as "the backend local".
        options: Names and values in the experiment file.

    Returns:
        The dataclass.

    Raises:
        BadInput: An option does not exist (the nearest name is suggested) or has a wrong value.
    """
    from pydantic import TypeAdapter, ValidationError

    given, known = dict(options or {}), [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    refuse_unknown(f"option of {owner}", given, known)
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"option {where!r} of {owner} is {first['input']!r}: {first['msg']}. Fix: change it in the experiment file."
        ) from None
