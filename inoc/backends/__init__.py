"""Backends: protocols, discovery, verification of their answers, and the shipped ones."""

from inoc.backends.checks import check_scores
from inoc.backends.registry import BackendInfo, check_options, list_backends, load_backend

__all__ = ["BackendInfo", "check_options", "check_scores", "list_backends", "load_backend"]
