"""How a study uses several processes or machines."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from inoc.experiment.parts import Name, Part


class Cluster(Part):
    """Workers on this machine, and what each must have. The address of a scheduler, which may run code here, is given
    on the command line only: `--cluster`."""

    workers: Annotated[
        int | None, Field(ge=1, le=256, description="processes on this machine; null: only what --cluster names")
    ] = None
    resources: Annotated[
        Mapping[Name, Annotated[float, Field(gt=0)]], Field(description="what a task needs of a worker, {GPU: 1}")
    ] = {}
    memory: Annotated[
        str | None, Field(pattern=r"^[0-9]+(\.[0-9]+)? ?([kMGT]i?B)$", description="limit of a worker on this machine")
    ] = None
