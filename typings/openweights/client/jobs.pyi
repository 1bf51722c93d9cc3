from collections.abc import Mapping

from openweights import Jobs

class Job:
    @classmethod
    def from_row(cls, row: Mapping[str, object], manager: Jobs) -> Job: ...
    def __getitem__(self, key: str) -> object: ...
