"""Any server that speaks the OpenAI completions protocol (`vllm serve` and others), and the hosted OpenAI API."""

from inoc.backends.openai_server.backend import OpenAIServerBackend
from inoc.backends.openai_server.hosted import OpenAIBackend

__all__ = ["OpenAIBackend", "OpenAIServerBackend"]
