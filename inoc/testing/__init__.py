"""For authors of backends: conformance suites, tiny models, request strategies. Needs pytest and hypothesis.

Imported lazily, so that `tiny_model` works without pytest and the suites without torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inoc.testing.conformance import SamplerConformance, ScorerConformance
    from inoc.testing.strategies import score_requests, token_ids
    from inoc.testing.tiny_models import table_model, tiny_model

__all__ = ["SamplerConformance", "ScorerConformance", "score_requests", "table_model", "tiny_model", "token_ids"]

_HOMES = {
    "SamplerConformance": "conformance",
    "ScorerConformance": "conformance",
    "score_requests": "strategies",
    "token_ids": "strategies",
    "table_model": "tiny_models",
    "tiny_model": "tiny_models",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'inoc.testing' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"inoc.testing.{_HOMES[name]}"), name)
