"""Clients of OpenAI-compatible HTTP services, shared by the judges and the server backends."""

from inoc.services.chat import ChatAnswer, ChatClient, ChatReply
from inoc.services.client import Service, shared_service
from inoc.services.retries import RequestFailed, RequestRefused
from inoc.services.settings import ServiceSettings

__all__ = [
    "ChatAnswer", "ChatClient", "ChatReply", "RequestFailed", "RequestRefused", "Service", "ServiceSettings",
    "shared_service",
]  # fmt: skip
