"""inoc's own kind of job on an OpenWeights server. Imports the client: import this late."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel

from inoc.backends.openweights.client import APIError, Job, Jobs, OpenWeights, Row, table
from inoc.backends.openweights.command import Kind, entrypoint, image_of
from inoc.backends.openweights.options import Options
from inoc.hashing import content_hash


class Params(BaseModel):
    """A job's own parameters. `base` identifies everything except the requests that changes results; `index` is a
    file with eight bytes per request, with which later calls find what is computed already."""

    program: Literal["inoc"] = "inoc"
    kind: Kind
    model: str
    base: str
    requests: int
    tokens: int
    index: str | None = None
    asks: bool = False
    attempt: int = 0


class InocJob(Jobs):
    """One job: mounted files and a shell line that runs `inoc.backends.openweights.worker` on them."""

    params = Params

    def __init__(self, ow: OpenWeights, options: Options, files: Mapping[str, bytes], reset: set[str]) -> None:
        super().__init__(ow)
        self.ow = ow
        self.options = options
        self.reset = reset
        """Jobs that were reset already; a process resets a job once."""
        self.files = files
        self.base_image = image_of(options)
        self.requires_vram_gb = options.requires_vram_gb
        self.before: Row | None = None
        """The job's row before it was submitted; None for a new job."""

    def get_entrypoint(self, validated_params: BaseModel) -> str:
        params = cast(Params, validated_params)
        return entrypoint(params.kind, params.asks, self.options)

    def submit(self, params: Params) -> str:
        """Create the job, find an existing one, or reset one that failed or was canceled. Returns its id."""
        with tempfile.TemporaryDirectory() as folder:
            self.mount = {}
            for number, (target, content) in enumerate(sorted(self.files.items())):
                path = Path(folder) / str(number)
                path.write_bytes(content)
                self.mount[str(path)] = target
            fields = params.model_dump()
            return str(self.create(**fields, allowed_hardware=self.options.hardware())["id"])

    def compute_id(self, data: dict[str, object], docker_image: str | None = None) -> str:
        """A hash of parameters, files and image, but not of hardware and intervals, which may change while a job
        waits."""
        image = docker_image or str(data["docker_image"])
        kind = cast(Mapping[str, Mapping[str, object]], data["params"])["validated_params"]["kind"]
        return f"inoc-{kind}-{content_hash(data['params'], image, self.ow.organization_id)}"

    def get_or_create_or_reset(self, data: dict[str, object]) -> Job:
        data["id"] = self.compute_id(data)
        rows = table(self.ow, "jobs").select("*").eq("id", data["id"]).execute().data
        self.before = rows[0] if rows else None
        if self.before is not None and self.before["status"] in ("failed", "canceled"):
            if self.before["id"] in self.reset:
                return Job.from_row(self.before, self)
            self.reset.add(str(self.before["id"]))
        try:
            return super().get_or_create_or_reset(data)
        except APIError as error:
            if str(error.code) != "23505":  # another process has just submitted the same
                raise
            return super().get_or_create_or_reset(data)
