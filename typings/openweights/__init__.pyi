from collections.abc import Mapping
from typing import BinaryIO

from openweights.client.jobs import Job
from pydantic import BaseModel

class Files:
    def create(self, file: BinaryIO, purpose: str) -> Mapping[str, object]: ...
    def content(self, file_id: str) -> bytes: ...

class Run:
    id: object
    job_id: str

    def log(self, event_data: Mapping[str, object]) -> None: ...

class JobList:
    def cancel(self, job_id: str) -> object: ...

class OpenWeights:
    files: Files
    jobs: JobList
    run: Run
    organization_id: str

    def __init__(self, *, supabase_url: str, supabase_key: str, auth_token: str) -> None: ...

class Jobs:
    mount: dict[str, str]
    params: type[BaseModel]
    base_image: str
    requires_vram_gb: int | None

    def __init__(self, ow_instance: OpenWeights) -> None: ...
    def create(self, **params: object) -> Job: ...
    def get_or_create_or_reset(self, data: dict[str, object]) -> Job: ...
