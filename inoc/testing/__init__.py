"""For authors of plugins: conformance suites, tiny models and stores, request strategies. Needs pytest and hypothesis.

Imported lazily, so that `tiny_model` works without pytest and the suites without torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inoc.testing.adapters import AdapterConformance
    from inoc.testing.heuristics import HeuristicConformance, small_store
    from inoc.testing.importing import ImporterConformance
    from inoc.testing.judging import JudgeConformance
    from inoc.testing.probing import ProberConformance
    from inoc.testing.sampling import SamplerConformance
    from inoc.testing.scoring import ScorerConformance
    from inoc.testing.strategies import score_requests, token_ids
    from inoc.testing.tiny_models import table_model, tiny_model
    from inoc.testing.training import TrainerConformance

__all__ = [
    "AdapterConformance",
    "HeuristicConformance",
    "ImporterConformance",
    "JudgeConformance",
    "ProberConformance",
    "SamplerConformance",
    "ScorerConformance",
    "TrainerConformance",
    "score_requests",
    "small_store",
    "table_model",
    "tiny_model",
    "token_ids",
]

_HOMES = {
    "AdapterConformance": "adapters",
    "HeuristicConformance": "heuristics",
    "ImporterConformance": "importing",
    "JudgeConformance": "judging",
    "ProberConformance": "probing",
    "SamplerConformance": "sampling",
    "ScorerConformance": "scoring",
    "TrainerConformance": "training",
    "score_requests": "strategies",
    "small_store": "heuristics",
    "table_model": "tiny_models",
    "tiny_model": "tiny_models",
    "token_ids": "strategies",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'inoc.testing' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"inoc.testing.{_HOMES[name]}"), name)
