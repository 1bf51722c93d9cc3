"""The connection to an OpenWeights server: probed before the client is used, its errors as one sentence.

The client retries transient errors for a minute; everything here goes through it, so that it also renews an expired
session. Its own lists of runs and events are not used: they are truncated (10 runs, 1000 events) or unordered.
"""

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from inoc.backends.remote import Remote, one_line
from inoc.errors import BackendRejected, BackendUnavailable, BadInput, BadResult, InocError
from inoc.hashing import bytes_hash

if TYPE_CHECKING:
    from inoc.backends.openweights.client import OpenWeights, Query, Table

T = TypeVar("T")
Row = Mapping[str, object]
REMOTE: Final = Remote("OpenWeights server", "SUPABASE_URL", "OPENWEIGHTS_API_KEY")
PAGE: Final = 1000
"""Most rows in one answer of a server."""
JWT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
TABLES: Final = "/rest/v1/jobs?select=id&limit=1"


class Service:
    """One authenticated client, opened on first use."""

    def __init__(self) -> None:
        self._ow: OpenWeights | None = None

    @property
    def url(self) -> str:
        """SUPABASE_URL, else the hosted service's; BadInput unless it is http(s) without credentials."""
        return REMOTE.url(os.environ.get("SUPABASE_URL", "").strip() or _hosted(0))

    @property
    def key(self) -> str:
        """The key; BackendUnavailable where it is missing or malformed."""
        key = REMOTE.key()
        if not key.startswith("ow_") and not JWT.fullmatch(key):
            raise BackendUnavailable(
                "OPENWEIGHTS_API_KEY is not an OpenWeights key, which begins with 'ow_'. Fix: set it to a valid key."
            )
        return key

    @property
    def anon_key(self) -> str:
        """SUPABASE_ANON_KEY, else the hosted service's."""
        key = os.environ.get("SUPABASE_ANON_KEY", "").strip() or _hosted(1)
        if not JWT.fullmatch(key):
            raise BackendUnavailable(
                "SUPABASE_ANON_KEY is not a key, which has three parts with dots. Fix: set it to a valid key."
            )
        return key

    def probe(self) -> None:
        """Ask for one job; BackendUnavailable unless something healthy answers."""
        REMOTE.probe(f"{self.url}{TABLES}", {"apikey": self.anon_key})

    @property
    def ow(self) -> "OpenWeights":
        """The client; opening it checks the key."""
        if self._ow is None:
            key, anon_key = self.key, self.anon_key
            self.probe()
            from inoc.backends.openweights.client import OpenWeights

            try:
                self._ow = OpenWeights(supabase_url=self.url, supabase_key=anon_key, auth_token=key)
            except Exception as error:
                raise self.explain(error) from None
        return self._ow

    def close(self) -> None:
        """Forget the client."""
        if self._ow is not None:
            from inoc.backends.openweights.client import forget

            forget(self._ow)
        self._ow = None

    def call(self, work: "Callable[[OpenWeights], T]") -> T:
        """Work with the client; it retries transient errors and renews an expired session."""
        self.ow  # noqa: B018  # opened first: its errors must not be retried
        from inoc.backends.openweights.client import retrying

        try:
            return retrying(lambda _: work(self.ow), self)
        except Exception as error:
            raise self.explain(error) from None

    def rows(self, name: str, ask: "Callable[[Table], Query]") -> list[Row]:
        """The rows of a table that a query finds."""
        from inoc.backends.openweights.client import table

        return self.call(lambda ow: ask(table(ow, name)).execute().data)

    def jobs(self, ids: Sequence[str]) -> dict[str, Row]:
        """The rows of jobs that exist, by id."""
        rows = self.rows("jobs", lambda table: table.select("*").in_("id", list(ids)))
        return {str(row["id"]): row for row in rows}

    def runs(self, job: str) -> list[Row]:
        """All runs of a job, oldest first."""
        return self.rows("runs", lambda table: table.select("*").eq("job_id", job).order("created_at").order("id"))

    def events(self, runs: Sequence[object], skip: int = 0) -> list[Row]:
        """All events of these runs from number `skip` on, in the order they were stored."""
        found: list[Row] = []
        while runs:
            first = skip + len(found)

            def page(table: "Table", first: int = first) -> "Query":
                ordered = table.select("*").in_("run_id", list(runs)).order("created_at").order("id")
                return ordered.range(first, first + PAGE - 1)

            rows = self.rows("events", page)
            found += rows
            if len(rows) < PAGE:
                break
        return found

    def find(self, params: Mapping[str, object]) -> list[Row]:
        """Jobs whose own parameters contain these, newest first."""
        own, wanted = "params->validated_params", dict(params)
        return self.rows("jobs", lambda table: table.select("*").contains(own, wanted).order("created_at", desc=True))

    def silence(self, worker: str) -> float | None:
        """Seconds since a worker last reported; None where it never did."""
        rows = self.rows("worker", lambda table: table.select("ping").eq("id", worker))
        if not rows or not rows[0]["ping"]:
            return None
        said = datetime.fromisoformat(str(rows[0]["ping"]).replace("Z", "+00:00"))
        return (datetime.now(UTC) - said).total_seconds()

    def ask_for(self, row: Row, hardware: Sequence[str] | None, vram_gb: int) -> None:
        """Change what a job requires while it waits for a worker."""
        from inoc.backends.openweights.client import normalized

        try:
            wanted: dict[str, object] = {"allowed_hardware": normalized(hardware), "requires_vram_gb": vram_gb}
        except ValueError as error:
            raise self.explain(error) from None
        if any(row.get(name) != value for name, value in wanted.items()):
            job = row["id"]
            self.rows("jobs", lambda table: table.update(wanted).eq("id", job).eq("status", "pending"))

    def cancel(self, job: str) -> None:
        self.call(lambda ow: ow.jobs.cancel(job))

    def upload(self, content: bytes, name: str) -> str:
        """The id of a file; an existing one is not sent again."""
        return str(self.call(lambda ow: ow.files.create(Named(content, name), purpose="custom_job_file"))["id"])

    def file(self, id: str) -> bytes:
        """The content of a file."""
        return self.call(lambda ow: ow.files.content(id))

    def content(self, data: Row) -> bytes:
        """The file of an event; BadResult where it differs from what was sent."""
        content = self.file(str(data["file"]))
        if bytes_hash(content) != data.get("sha256"):
            raise BadResult(
                f"the file '{data.get('path')}' of the job arrived damaged. "
                "Fix: run the same command, which fetches it again."
            )
        return content

    def explain(self, error: BaseException) -> InocError:
        """An error of the client as one sentence without keys."""
        from inoc.backends.openweights.client import APIError, ApiTokenError, StorageException
        from inoc.backends.openweights.client import HTTPError as WireError

        if isinstance(error, InocError):
            return error
        said, where = self.clean(str(error)), f"the OpenWeights server at {self.url}"
        if isinstance(error, ApiTokenError):
            return BackendUnavailable(f"{where} rejects the key in OPENWEIGHTS_API_KEY ({said}). Fix: set a valid key.")
        if isinstance(error, ValueError) and "hardware" in said:
            return BadInput(f"openweights option allowed_hardware: {said}")
        if isinstance(error, WireError):
            return BackendUnavailable(
                f"the connection to {where} broke ({type(error).__name__}). Fix: run the same command later; submitted "
                "jobs continue and it finds them."
            )
        if isinstance(error, (APIError, StorageException)):
            if re.search(r"JWT|JWS|Unauthorized|Invalid API key|\b401\b", said):
                return BackendUnavailable(
                    f"{where} rejects the key in OPENWEIGHTS_API_KEY or SUPABASE_ANON_KEY (wrong or expired). "
                    "Fix: set valid keys."
                )
            if re.search(r"\b413\b|too large|exceeded the maximum", said):
                return BackendRejected(
                    f"{where} rejects a file of this size. Fix: lower tokens_per_job, upload_mb or resume_mb."
                )
            if "42501" in said or "permission denied" in said:
                return BackendUnavailable(f"{where} does not allow this with the key in OPENWEIGHTS_API_KEY: {said}")
            return BackendUnavailable(f"{where} rejects the request: {said}")
        return BackendUnavailable(f"{where}: {type(error).__name__}: {said}")

    def clean(self, text: str) -> str:
        """One short line without keys."""
        hidden = re.sub(r"eyJ[\w-]+\.[\w-]+\.[\w-]+|ow_[0-9A-Za-z]{8,}", "***", text)
        return one_line(hidden, ("OPENWEIGHTS_API_KEY", "SUPABASE_ANON_KEY"))


class Named(io.BytesIO):
    """Bytes with a file's name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def _hosted(which: int) -> str:
    from inoc.backends.openweights.client import hosted

    return hosted()[which]
