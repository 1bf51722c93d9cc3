"""The local backend: transformers and torch on this machine (extra `local`)."""

from inoc.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
