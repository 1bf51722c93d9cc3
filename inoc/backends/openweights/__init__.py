"""OpenWeights: scoring, sampling, training and embedding as inoc's own jobs on rented GPUs (extra `openweights`)."""

from inoc.backends.openweights.backend import OpenWeightsBackend

__all__ = ["OpenWeightsBackend"]
