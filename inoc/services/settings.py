"""Where a service is, how hard it may be used, and where its key comes from."""

import os
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field

from inoc.errors import BackendUnavailable, BadInput
from inoc.services.keys import check_key

HOSTED_URL: Final = "https://api.openai.com/v1"
Count = Annotated[int, Field(ge=1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


@dataclass(frozen=True)
class ServiceSettings:
    """How a service is used.

    Attributes:
        url: Base URL ending in /v1; None means OPENAI_BASE_URL, else the hosted OpenAI API.
        key_env: Name of the environment variable that holds the key. Only the hosted API and OPENAI_BASE_URL
            get OPENAI_API_KEY by default; which variable may go to which host is for the user to say
            (`inoc.services.keys`), not for an experiment file.
        concurrency: Requests in flight at once.
        requests_per_minute: Most attempts per minute, retries included; spread evenly (bursts of 0.1 s at most).
        timeout: Seconds one attempt may take.
        attempts: Attempts per request for timeouts, dropped connections and server errors.
        deadline: Seconds one request may wait for its answer in all attempts together. Waits that `patience` bounds
            and those of the own rate limit are not counted.
        reply_mb: Megabytes of one reply; a longer one is cut off and counts as malformed.
        patience: Seconds a request may wait for a service that limits the rate (429) or takes no connection in time.
        backoff: First wait between attempts in seconds; doubles up to 8 s, with jitter. A retry-after header
            takes precedence.
    """

    url: str | None = None
    key_env: str | None = None
    concurrency: Count = 32
    requests_per_minute: Positive | None = None
    timeout: Positive = 120.0
    attempts: Count = 6
    deadline: Positive = 300.0
    reply_mb: Count = 64
    patience: Positive = 600.0
    backoff: Positive = 0.5

    def address(self) -> str:
        """The base URL in use.

        Raises:
            BadInput: It is not an http(s) address, or contains a secret.
        """
        url = self.url or os.environ.get("OPENAI_BASE_URL") or HOSTED_URL
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(
                f"url {parts.scheme}://{parts.hostname or ''} is not an http(s) address. "
                "Fix: use the base URL of a service, such as http://localhost:8000/v1."
            )
        if parts.username or parts.password or parts.query:
            raise BadInput(
                f"the url of {parts.hostname} contains a secret or a query. "
                "Fix: put the key in an environment variable and name it in key_env."
            )
        return url

    def key(self) -> tuple[str | None, str]:
        """The key and the environment variable it comes from.

        Returns:
            (variable, key), or (None, "none") for a service that is used without a key.

        Raises:
            BadInput: The variable is not bound to this host.
            BackendUnavailable: A key is needed and is missing or malformed.
        """
        host = urlsplit(self.address()).hostname
        hosted = host == urlsplit(HOSTED_URL).hostname
        name = self.key_env or ("OPENAI_API_KEY" if hosted or self.url is None else None)
        if name is not None:
            check_key(name, self.address())
        key = os.environ.get(name, "").strip() if name else ""
        if name is None or (not key and not hosted and self.key_env is None):
            return None, "none"
        if not key:
            raise BackendUnavailable(f"the environment variable {name} is not set. Fix: set it to the key for {host}.")
        if not (key.isascii() and key.isprintable()):
            raise BackendUnavailable(
                f"the environment variable {name} holds characters that no key has. Fix: set it to the key."
            )
        return name, key
