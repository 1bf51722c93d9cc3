"""The state that a training of the local backend resumes from, in `inoc.backends.training_folder`: weights.safetensors
and optimizer.pt. Nothing is pickled: the optimizer's state is read with `weights_only=True`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from inoc.backends.manifest import Manifest
from inoc.backends.protocols import TrainingStep
from inoc.backends.training_folder import keep_state, newest_state
from inoc.errors import BadInput


def save_state(
    directory: Path,
    weights: Mapping[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    steps: Sequence[TrainingStep],
    manifest: Manifest,
) -> None:
    """Save what the next update depends on, after the last update of `steps`; older states are removed."""

    def fill(folder: Path) -> None:
        tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
        save_file(tensors, folder / "weights.safetensors")
        torch.save(optimizer.state_dict(), folder / "optimizer.pt")

    keep_state(directory, steps, fill, manifest)


def load_state(
    directory: Path, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer, manifest: Manifest
) -> list[TrainingStep]:
    """Put the newest state into `weights` and `optimizer` and return the updates done; without a state, none.

    BadInput for a state that is damaged or another job's.
    """
    state = newest_state(directory, manifest)
    if state is None:
        return []
    saved = load_file(state.folder / "weights.safetensors")
    if saved.keys() != weights.keys():
        raise BadInput(
            f"'{state.folder}' has weights that this model does not have. Fix: delete the directory to start over."
        )
    with torch.no_grad():
        for key, value in weights.items():
            value.copy_(saved[key])
    try:
        optimizer.load_state_dict(torch.load(state.folder / "optimizer.pt", weights_only=True))
    except UnpicklingError:
        raise BadInput(f"'{state.folder}' is not a state of inoc. Fix: delete the directory to start over.") from None
    return state.steps
