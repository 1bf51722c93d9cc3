"""Clients of OpenAI-compatible HTTP services, shared by the judges and the server backends."""

from inoc.services.client import Service
from inoc.services.retries import RequestFailed, RequestRefused
from inoc.services.settings import OPTION_NAMES, ServiceSettings

__all__ = ["OPTION_NAMES", "RequestFailed", "RequestRefused", "Service", "ServiceSettings"]
