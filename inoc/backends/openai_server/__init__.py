"""Any server that speaks the OpenAI completions protocol (`vllm serve` and others)."""

from inoc.backends.openai_server.backend import OpenAIServerBackend

__all__ = ["OpenAIServerBackend"]
