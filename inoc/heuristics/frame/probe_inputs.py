"""Inputs that `inoc probe` measured inside the base model."""

from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64

from inoc.heuristics.frame.prompt_inputs import PromptInputs, strings
from inoc.heuristics.frame.protocols import Absent

Cells = Float64[np.ndarray, "prefix_type prompt"]
Count = Int64[np.ndarray, ""]
DEFAULT = "none"
"""The reference gradient without a prefix; the others are named after the roles of the traits."""


class ProbeInputs(PromptInputs):
    """What a store's probes say about the prompts that were asked for; NaN for a unit that is not probed."""

    prefix_types: tuple[str, ...] = ()

    @property
    def n_gradient_examples(self) -> Count:
        """Number of training examples behind a gradient."""
        return self._n("gradient")

    @cached_property
    def gradient_norm(self) -> Cells:
        """Norm of the gradient of the training loss with the prompt, nats."""
        return self._units("gradient", "norm")

    @cached_property
    def gradient_product(self) -> Cells:
        """Inner product of the gradients with and without the prompt, nats squared."""
        return self._units("gradient", "product")[..., self._reference(DEFAULT)]

    @cached_property
    def default_gradient_norm(self) -> Float64[np.ndarray, ""]:
        """Norm of the gradient without a prompt, nats."""
        return np.asarray(self._whole("gradient", "reference_norm")[self._reference(DEFAULT)])

    @cached_property
    def gradient_sign_product(self) -> Float64[np.ndarray, "trait prefix_type prompt"]:
        """Sign of the gradient with the prompt times each trait's gradient (its texts minus control texts), nats."""
        values = self._units("gradient", "sign_product")
        return np.stack([values[..., self._reference(role)] for role in self.trait_roles])

    @cached_property
    def default_gradient_sign_product(self) -> Float64[np.ndarray, " trait"]:
        """The same without a prompt, nats."""
        values = self._whole("gradient", "reference_sign_product")
        return np.array([values[self._reference(role)] for role in self.trait_roles])

    @property
    def n_shift_examples(self) -> Count:
        """Number of training examples behind a shift of hidden states."""
        return self._n("activation")

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """Layers whose hidden states are stored; 0 is the embedding."""
        return tuple(int(layer) for layer in self._whole("activation", "layer"))

    @cached_property
    def prompt_shift(self) -> Float64[np.ndarray, "prefix_type prompt layer feature"]:
        """Mean over examples of the last prompt token's hidden state with the prompt minus without."""
        return self._units("activation", "shift")

    @cached_property
    def prompt_shift_square(self) -> Float64[np.ndarray, "prefix_type prompt layer"]:
        """Mean over examples of the squared length of that difference."""
        return self._units("activation", "square_shift")

    @cached_property
    def persona_vectors(self) -> Float64[np.ndarray, "trait layer feature"]:
        """Mean hidden state of the answers of each trait's set minus that of the control set."""
        stored = strings(self._store, "probes/activation/completion_set")
        values = self._whole("activation", "set_activation")
        if lost := [name for name in (*self.trait_roles, "control") if name not in stored]:
            raise Absent(f"the hidden states of the set '{lost[0]}' are not probed; name it in `completion_sets`")
        control = values[stored.index("control")]
        return np.stack([values[stored.index(role)] - control for role in self.trait_roles])

    @property
    def n_first_tokens(self) -> Count:
        """Number of training examples behind the divergence of the first token."""
        return self._n("logits")

    @cached_property
    def first_token_divergence(self) -> Float64[np.ndarray, "prefix_type prompt example"]:
        """KL divergence of the first answer token's distribution with the prompt from that without, nats."""
        return self._units("logits", "first_token_kl")

    @cached_property
    def pools(self) -> tuple[tuple[str, ...], ...]:
        """The stored rephrasings of each prompt."""
        keys, texts = (strings(self._store, f"rephrasings/{name}") for name in ("prompt", "text"))
        if not keys:
            raise Absent("the store has no rephrasings; `inoc score` adds them where prompts have pools")
        found: dict[str, list[str]] = {}
        for key, text in zip(keys, texts, strict=True):
            found.setdefault(key, []).append(text)
        return tuple(tuple(found.get(prompt, ())) for prompt in self.prompts)

    def _n(self, probe: str) -> Count:
        return np.asarray(len(self._whole(probe, "example")), np.int64)

    def _reference(self, name: str) -> int:
        labels = strings(self._store, "probes/gradient/reference")
        if name not in labels:
            raise Absent(f"no gradient of the set '{name}' is probed; name it in `completion_sets`")
        return labels.index(name)

    def _whole(self, probe: str, variable: str) -> np.ndarray:
        if not self._store.has(f"probes/{probe}/{variable}"):
            raise Absent(f"the store has no {probe} probe; `inoc probe` adds it")
        values = self._store.read(f"probes/{probe}/{variable}")
        return values if values.dtype == object else values.astype(np.float64)

    def _units(self, probe: str, variable: str) -> np.ndarray:
        """A stored [prefix_type, prompt, ...] array for the prefix types and prompts asked for."""
        values = self._whole(probe, variable)
        kinds = strings(self._store, f"probes/{probe}/prefix_type")
        out = np.full((len(self.prefix_types), len(self.prompts), *values.shape[2:]), np.nan)
        for f, kind in enumerate(self.prefix_types):
            if kind in kinds:
                out[f] = self._aligned(f"probes/{probe}", values[kinds.index(kind)])
        return out
