"""A key/value cache of fixed rows, each at its own length, so that finished rows can be refilled."""

from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int64
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer


class Slots:
    """`positions[row]` is where the row's next token goes; keys and values beyond it are stale and masked."""

    def __init__(self, rows: int, capacity: int) -> None:
        self.rows = rows
        self.capacity = capacity
        self.positions: Int64[torch.Tensor, " row"] = torch.zeros(0, dtype=torch.int64)
        """Of the rows in the running step: always the first ones."""
        self.width = 0
        """Longest running row after this step."""
        self.layers: list[SlotLayer] = []

    def begin_step(self, positions: Int64[torch.Tensor, " row"], width: int) -> None:
        """The rows of the next step and their positions."""
        self.positions, self.width = positions, width

    def mask(self, dtype: torch.dtype) -> Float[torch.Tensor, "row 1 1 key"]:
        """Added to the attention scores: 0 up to the row's own position, the most negative number beyond."""
        seen = torch.arange(self.width, device=self.positions.device)[None] <= self.positions[:, None]
        mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
        return mask.masked_fill(~seen, torch.finfo(dtype).min)[:, None, None, :]

    def fill(self, row: int, prefilled: DynamicCache, source: int, length: int) -> None:
        """Put the first `length` keys and values of a prefilled cache's row `source` into slot `row`."""
        layers = cast(list[FilledLayer], prefilled.layers)
        if not self.layers:
            self.layers = [SlotLayer(self, layer) for layer in layers]
        for slot, layer in zip(self.layers, layers, strict=True):
            slot.keys[row, :, :length] = layer.keys[source, :, :length]
            slot.values[row, :, :length] = layer.values[source, :, :length]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a running row over a finished one, so that the running rows stay the first ones."""
        for slot in self.layers:
            slot.keys[target, :, :length] = slot.keys[source, :, :length]
            slot.values[target, :, :length] = slot.values[source, :, :length]

    def cache(self) -> Cache:
        return Cache(layers=[*self.layers])


@runtime_checkable
class FilledLayer(Protocol):
    """A cache layer after a pass: keys and values [row, head, token, feature]."""

    keys: torch.Tensor
    values: torch.Tensor


class SlotLayer(DynamicLayer):
    """One layer's keys and values, [row, head, capacity, feature]; a step writes one token per row."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, slots: Slots, like: FilledLayer) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        _, heads, _, features = like.keys.shape
        self.slots = slots
        self.keys = like.keys.new_zeros(slots.rows, heads, slots.capacity, features)
        self.values = like.values.new_zeros(slots.rows, heads, slots.capacity, like.values.shape[3])
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        positions = self.slots.positions.to(self.keys.device)
        rows = torch.arange(positions.shape[0], device=self.keys.device)
        self.keys[rows, :, positions] = key_states[:, :, 0]
        self.values[rows, :, positions] = value_states[:, :, 0]
        return self.keys[: len(rows), :, : self.slots.width], self.values[: len(rows), :, : self.slots.width]

    def get_seq_length(self) -> int:
        return self.slots.width - 1
