"""Tinker: training, sampling and scoring on a remote service, LoRA only (extra `tinker`)."""

from inoc.backends.tinker.backend import TinkerBackend

__all__ = ["TinkerBackend"]
