"""The vllm backend: vLLM's engine in this process (extra `vllm`)."""

from inoc.backends.vllm.backend import VllmBackend

__all__ = ["VllmBackend"]
