"""Which key may go to which host. A study file names variables and addresses; it never decides that they belong
together: the services' own variables go to their own hosts, everything else where the user has allowed it.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
from pydantic import BaseModel, ValidationError

from inoc.errors import BadInput

ALLOWED: Final = "INOC_KEYS"
"""Environment variable in which the user allows variables for hosts: `MY_KEY=judge.example,OTHER=localhost:8000`."""
OWN_HOSTS: Final[Mapping[str, tuple[str, ...]]] = {
    "OPENAI_API_KEY": ("api.openai.com",),
    "TINKER_API_KEY": ("tinker.thinkingmachines.dev",),
    "OPENROUTER_API_KEY": ("openrouter.ai",),
    "TOGETHER_API_KEY": ("api.together.xyz",),
    "FIREWORKS_API_KEY": ("api.fireworks.ai",),
    "GROQ_API_KEY": ("api.groq.com",),
    "DEEPSEEK_API_KEY": ("api.deepseek.com",),
    "MISTRAL_API_KEY": ("api.mistral.ai",),
    "XAI_API_KEY": ("api.x.ai",),
    "GEMINI_API_KEY": ("generativelanguage.googleapis.com",),
    "HF_TOKEN": ("router.huggingface.co",),
}
"""The variables of known services, and the hosts that get them, by https only."""
BASE_URLS: Final[Mapping[str, str]] = {"OPENAI_API_KEY": "OPENAI_BASE_URL", "TINKER_API_KEY": "TINKER_BASE_URL"}
"""Where the environment names the service's address, its key goes there too."""


class _Config(BaseModel):
    """What of the configuration is read here: hosts by variable."""

    keys: dict[str, list[str]] = {}


def check_key(variable: str, url: str) -> None:
    """Refuse to send the key in an environment variable to a host that it is not bound to.

    Args:
        variable: Name of the environment variable.
        url: The address of the service, http or https.

    Raises:
        BadInput: Neither is it the service's own variable, nor has the user allowed it for this host.
    """
    parts = urlsplit(url)
    own = parts.scheme == "https" and _named(parts.hostname or "", None, OWN_HOSTS.get(variable, ()))
    base = os.environ.get(BASE_URLS.get(variable, ""), "")
    if own or (base and _origin(base) == _origin(url)):
        return
    host, port = _host(url)
    if _named(host, port, (*_in_environment(variable), *_in_file(variable))):
        return
    place = host if port is None else f"{host}:{port}"
    raise BadInput(
        f"the key in {variable} is not sent to {place}: only the user's own settings bind a key to a host. Fix: if "
        f"{place} may have it, set the environment variable {ALLOWED}={variable}={place}, or add it to {config_file()}."
    )


def config_file() -> Path:
    """The user's configuration, `config.toml` in the platform's folder for inoc; its table `keys` lists hosts."""
    return Path(click.get_app_dir("inoc")) / "config.toml"


def _host(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    return (parts.hostname or "").rstrip("."), parts.port


def _origin(url: str) -> tuple[str, str, int | None]:
    return (urlsplit(url).scheme, *_host(url))


def _named(host: str, port: int | None, places: tuple[str, ...]) -> bool:
    """Whether a host is among places, which are `host` (any port) or `host:port`."""
    names = {host.lower(), f"{host.lower()}:{port}"}
    return any(place.lower() in names for place in places)


def _in_environment(variable: str) -> tuple[str, ...]:
    pairs = [pair.partition("=") for pair in re.split(r"[\s,]+", os.environ.get(ALLOWED, "")) if pair]
    return tuple(place for name, _, place in pairs if name == variable and place)


def _in_file(variable: str) -> tuple[str, ...]:
    path = config_file()
    try:
        return tuple(_Config.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).keys.get(variable, ()))
    except FileNotFoundError:
        return ()
    except ValidationError:
        raise BadInput(f'{path}: `keys` must be like {variable} = ["judge.example"]. Fix: correct it.') from None
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise BadInput(f"{path} cannot be read ({said}). Fix: correct it, or remove it.") from None
