"""What backends of a remote service share: its address and key, a health probe, and errors without secrets."""

import os
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from typing import Final, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from inoc.errors import BackendUnavailable, BadInput

PROBE_SECONDS: Final = 3.0
LONGEST: Final = 300
"""Characters of another program's message that an error repeats."""


class Remote(NamedTuple):
    """A service as errors name it: its name, how the user sets its address, the environment variable with its key."""

    name: str
    url_setting: str
    key_variable: str

    def url(self, url: str) -> str:
        """The address without a trailing slash; BadInput unless it is http(s) without credentials."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise BadInput(
                f"the url of the {self.name} is not a plain http(s) address. Fix: correct {self.url_setting}."
            )
        return url.rstrip("/")

    def key(self) -> str:
        """The key in the environment; BackendUnavailable where it is not set."""
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise BackendUnavailable(
                f"the {self.name} needs a key. Fix: set the environment variable {self.key_variable}."
            )
        return key

    def probe(self, url: str, headers: Mapping[str, str]) -> None:
        """One GET of at most three seconds; BackendUnavailable unless something healthy answers."""
        parts = urlsplit(url)
        where = f"{parts.scheme}://{parts.netloc}"
        try:
            with build_opener(_Stay).open(Request(url, headers=dict(headers)), timeout=PROBE_SECONDS) as reply:
                reply.read(1000)
        except HTTPError as error:
            if error.code in (401, 403, 429):
                return
            if error.code >= 500:
                raise BackendUnavailable(
                    f"the {self.name} at {where} answers {error.code}. Fix: try again later."
                ) from None
            raise BackendUnavailable(
                f"what answers at {where} is not a {self.name} ({error.code} for {parts.path}). "
                f"Fix: correct {self.url_setting}."
            ) from None
        except (OSError, HTTPException):
            raise BackendUnavailable(
                f"no {self.name} answers at {where} within {PROBE_SECONDS:.0f} s. "
                f"Fix: check {self.url_setting} and the network."
            ) from None


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: it would carry the headers to another address."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def one_line(text: str, keys: Iterable[str]) -> str:
    """A message of another program in one short line, without the keys in these environment variables."""
    line = " ".join(text.split())
    for name in keys:
        key = os.environ.get(name, "").strip()
        line = line.replace(key, "***") if key else line
    return line[:LONGEST]
