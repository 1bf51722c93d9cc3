"""Clients of OpenAI-compatible HTTP services, shared by the judges and the server backends."""

from inoc.services.chat import ChatAnswer, ChatClient
from inoc.services.client import Service, shared_service
from inoc.services.retries import RequestFailed, RequestRefused
from inoc.services.settings import OPTION_NAMES, ServiceSettings

__all__ = [
    "OPTION_NAMES",
    "ChatAnswer",
    "ChatClient",
    "RequestFailed",
    "RequestRefused",
    "Service",
    "ServiceSettings",
    "shared_service",
]
