"""Rows of completion sets from the hub and from plugins (group `inoc.datasets`)."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol, cast, runtime_checkable

from inoc.errors import BackendUnavailable, BadInput, BadResult
from inoc.plugins import Plugin, Registry

HUB: Final = "hub"


@runtime_checkable
class RowSource(Protocol):
    """Gives the rows of a data set; what an entry point of the group "inoc.datasets" names."""

    def __call__(self, spec: str, *, split: str, revision: str | None) -> Iterable[Mapping[str, object]]:
        """The rows in their order, each a mapping of columns to values.

        Args:
            spec: What follows "SOURCE:" in the experiment file.
            split: As in the experiment file.
            revision: As in the experiment file.

        Raises:
            InocError: There is no such data set, or it cannot be read.
        """
        ...


def hub_rows(spec: str, *, split: str, revision: str | None) -> Iterable[Mapping[str, object]]:
    """The rows of a data set of the Hugging Face hub, or of a folder that the `datasets` library reads.

    Args:
        spec: Name on the hub, or the folder.
        split: Of the data set.
        revision: A commit or tag; None for the newest.

    Returns:
        The rows.

    Raises:
        BackendUnavailable: The `datasets` library is missing, or the hub cannot be reached.
        BadInput: There is no such data set or split.
    """
    try:
        import datasets  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise BackendUnavailable(
            "a completion set names a data set. Fix: pip install -e '.[datasets]' in inoc's clone."
        ) from None
    datasets.disable_progress_bars()
    try:
        table = datasets.load_dataset(spec, split=split, revision=revision)  # pyright: ignore[reportUnknownMemberType]
    except ConnectionError as error:
        raise BackendUnavailable(f"dataset {spec}: the hub cannot be reached ({error}).") from None
    except (ValueError, OSError) as error:  # datasets' own errors for an unknown name, split or format
        raise BadInput(f"dataset {spec}, split {split}: {error}") from None
    return cast(Iterable[Mapping[str, object]], table)


def _callable(loaded: object, plugin: Plugin) -> RowSource:
    if not callable(loaded):
        raise TypeError(f"{plugin.target} is not a function (spec, *, split, revision) -> rows")
    return cast(RowSource, loaded)


DATASETS: Final = Registry("inoc.datasets", "data set", {HUB: f"{__name__}:hub_rows"}, _callable)


def split_name(name: str) -> tuple[str, str]:
    """Source and spec of a data set's name: `SOURCE:SPEC`, `module:function:SPEC`, or the hub's own name."""
    source, colon, spec = name.partition(":")
    if not colon:
        return HUB, name
    if source in DATASETS.names():
        return source, spec
    function, _, rest = spec.partition(":")
    return f"{source}:{function}", rest


def dataset_rows(name: str, split: str, revision: str | None) -> Iterator[Mapping[str, object]]:
    """The rows of a data set, by its name in an experiment file.

    Args:
        name: See `split_name`; an existing folder is itself.
        split: Of the data set.
        revision: A commit or tag; None for the newest.

    Yields:
        The rows in order.

    Raises:
        InocError: The source is unknown or broken, there is no such data set, or a row is not a mapping.
    """
    source, spec = (HUB, name) if os.path.isdir(name) else split_name(name)
    for place, row in enumerate(DATASETS.get(source)(spec, split=split, revision=revision)):
        if not isinstance(cast(object, row), Mapping):
            raise BadResult(f"dataset {name}, row {place}: {source} gave no columns. Fix: repair that plugin.")
        yield row
