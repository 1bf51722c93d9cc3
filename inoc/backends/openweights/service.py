"""The connection to an OpenWeights server: probed before the client is used, its errors as one sentence.

The client tries transient errors again for a minute; everything here goes through it, so that an expired session is
renewed as it does. Its own lists of runs and events are not used: they are cut (10 runs, 1000 events) or unordered.
"""

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from http.client import HTTPException
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from inoc.errors import BackendRejected, BackendUnavailable, BadInput, BadResult, InocError

if TYPE_CHECKING:
    from inoc.backends.openweights.client import OpenWeights

T = TypeVar("T")
Row = Mapping[str, object]
PROBE_SECONDS: Final = 3.0
PAGE: Final = 1000
"""Rows a server sends at most in one answer."""
JWT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
TABLES: Final = "/rest/v1/jobs?select=id&limit=1"


class Service:
    """One authenticated client, opened when it is first needed."""

    def __init__(self) -> None:
        self._ow: OpenWeights | None = None

    @property
    def url(self) -> str:
        """SUPABASE_URL, else the hosted service's. BadInput where it is no http address or carries credentials."""
        url = os.environ.get("SUPABASE_URL", "").strip() or _hosted(0)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise BadInput("SUPABASE_URL must be a plain http(s) address: set it anew.")
        return url.rstrip("/")

    @property
    def key(self) -> str:
        """BackendUnavailable where there is none, or none of the service's."""
        key = os.environ.get("OPENWEIGHTS_API_KEY", "").strip()
        if not key:
            raise BackendUnavailable(
                "the backend openweights needs a key: set the environment variable OPENWEIGHTS_API_KEY."
            )
        if not key.startswith("ow_") and not JWT.fullmatch(key):
            raise BackendUnavailable(
                "OPENWEIGHTS_API_KEY holds no OpenWeights key (they begin with 'ow_'): set it anew."
            )
        return key

    @property
    def anon_key(self) -> str:
        """SUPABASE_ANON_KEY, else the hosted service's."""
        key = os.environ.get("SUPABASE_ANON_KEY", "").strip() or _hosted(1)
        if not JWT.fullmatch(key):
            raise BackendUnavailable(
                "SUPABASE_ANON_KEY holds no such key (three parts with dots): set it anew."
            )
        return key

    def probe(self) -> None:
        """One small request of at most three seconds; BackendUnavailable where nothing healthy answers."""
        asked = Request(f"{self.url}{TABLES}", headers={"apikey": self.anon_key})
        try:
            with urlopen(asked, timeout=PROBE_SECONDS) as reply:
                reply.read(1000)
        except HTTPError as error:
            if error.code >= 500:
                raise BackendUnavailable(
                    f"the OpenWeights server at {self.url} answers {error.code}: try later."
                ) from None
            if error.code not in (401, 403, 429):
                raise BackendUnavailable(
                    f"what answers at {self.url} is no OpenWeights server ({error.code}): mend SUPABASE_URL."
                ) from None
        except (OSError, HTTPException):
            raise BackendUnavailable(
                f"no OpenWeights server answers at {self.url} within {PROBE_SECONDS:.0f} s: check SUPABASE_URL and "
                "the network."
            ) from None

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
        """Work with the client; transient errors are tried again and an expired session is renewed."""
        self.ow  # noqa: B018  # opened first: its errors are not to be tried again
        from inoc.backends.openweights.client import retrying

        try:
            return retrying(lambda _: work(self.ow), self)
        except Exception as error:
            raise self.explain(error) from None

    def jobs(self, ids: Sequence[str]) -> dict[str, Row]:
        """The rows of jobs that exist, by id."""
        from inoc.backends.openweights.client import table

        rows = self.call(lambda ow: table(ow, "jobs").select("*").in_("id", list(ids)).execute().data)
        return {str(row["id"]): row for row in rows}

    def runs(self, job: str) -> list[Row]:
        """All runs of a job, oldest first."""
        from inoc.backends.openweights.client import table

        return self.call(
            lambda ow: (
                table(ow, "runs").select("*").eq("job_id", job).order("created_at").order("id").execute().data
            )
        )

    def events(self, runs: Sequence[object], skip: int = 0) -> list[Row]:
        """All events of these runs from number `skip` on, in the order they were stored."""
        from inoc.backends.openweights.client import table

        found: list[Row] = []
        while runs:
            first = skip + len(found)
            page = self.call(
                lambda ow, first=first: (
                    table(ow, "events")
                    .select("*")
                    .in_("run_id", list(runs))
                    .order("created_at")
                    .order("id")
                    .range(first, first + PAGE - 1)
                    .execute()
                    .data
                )
            )
            found += page
            if len(page) < PAGE:
                break
        return found

    def find(self, params: Mapping[str, object]) -> list[Row]:
        """Jobs whose own parameters contain these, newest first."""
        from inoc.backends.openweights.client import table

        return self.call(
            lambda ow: (
                table(ow, "jobs")
                .select("*")
                .contains("params->validated_params", dict(params))
                .order("created_at", desc=True)
                .execute()
                .data
            )
        )

    def silence(self, worker: str) -> float | None:
        """Seconds since a worker last said that it lives; None where it never did."""
        from inoc.backends.openweights.client import table

        rows = self.call(lambda ow: table(ow, "worker").select("ping").eq("id", worker).execute().data)
        if not rows or not rows[0]["ping"]:
            return None
        said = datetime.fromisoformat(str(rows[0]["ping"]).replace("Z", "+00:00"))
        return (datetime.now(UTC) - said).total_seconds()

    def ask_for(self, row: Row, hardware: Sequence[str] | None, vram_gb: int) -> None:
        """Change what a job asks for while it waits for a worker."""
        from inoc.backends.openweights.client import normalised, table

        try:
            wanted: dict[str, object] = {
                "allowed_hardware": normalised(hardware),
                "requires_vram_gb": vram_gb,
            }
        except ValueError as error:
            raise self.explain(error) from None
        if any(row.get(name) != value for name, value in wanted.items()):
            job = row["id"]
            self.call(
                lambda ow: (
                    table(ow, "jobs").update(wanted).eq("id", job).eq("status", "pending").execute().data
                )
            )

    def cancel(self, job: str) -> None:
        self.call(lambda ow: ow.jobs.cancel(job))

    def upload(self, content: bytes, name: str) -> str:
        """The id of a file; one that is there is not sent again."""
        return str(
            self.call(lambda ow: ow.files.create(Named(content, name), purpose="custom_job_file"))["id"]
        )

    def file(self, id: str) -> bytes:
        """The content of a file."""
        return self.call(lambda ow: ow.files.content(id))

    def content(self, data: Row) -> bytes:
        """The file of an event; BadResult where it is not what was sent."""
        content = self.file(str(data["file"]))
        if sha256(content).hexdigest() != data.get("sha256"):
            raise BadResult(
                f"the file '{data.get('path')}' of the job arrived damaged; the same command fetches it anew."
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
            return BackendUnavailable(
                f"{where} does not take the key in OPENWEIGHTS_API_KEY ({said}): set a valid one."
            )
        if isinstance(error, ValueError) and "hardware" in said:
            return BadInput(f"openweights option allowed_hardware: {said}")
        if isinstance(error, WireError):
            return BackendUnavailable(
                f"the connection to {where} broke ({type(error).__name__}): try later; submitted jobs go on, and the "
                "same command finds them."
            )
        if isinstance(error, (APIError, StorageException)):
            if re.search(r"JWT|JWS|Unauthorized|Invalid API key|\b401\b", said):
                return BackendUnavailable(
                    f"{where} does not take the key in OPENWEIGHTS_API_KEY or SUPABASE_ANON_KEY (wrong or expired): "
                    "set valid ones."
                )
            if re.search(r"\b413\b|too large|exceeded the maximum", said):
                return BackendRejected(
                    f"{where} takes no file of this size: lower tokens_per_job, upload_mb or resume_mb."
                )
            if "42501" in said or "permission denied" in said:
                return BackendUnavailable(
                    f"{where} does not allow this to the key in OPENWEIGHTS_API_KEY: {said}"
                )
            return BackendUnavailable(f"{where} refuses: {said}")
        return BackendUnavailable(f"{where}: {type(error).__name__}: {said}")

    def clean(self, text: str) -> str:
        """One short line without keys."""
        line = " ".join(text.split())
        for name in ("OPENWEIGHTS_API_KEY", "SUPABASE_ANON_KEY"):
            key = os.environ.get(name, "").strip()
            line = line.replace(key, "***") if key else line
        return re.sub(r"eyJ[\w-]+\.[\w-]+\.[\w-]+|ow_[0-9A-Za-z]{8,}", "***", line)[:300]


class Named(io.BytesIO):
    """Bytes with a file's name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def _hosted(which: int) -> str:
    from inoc.backends.openweights.client import hosted

    return hosted()[which]
