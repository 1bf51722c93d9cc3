"""The model of the jobs: what is uploaded, what the worker calls it, and what is known on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inoc.backends.base import model_name
from inoc.backends.model_files import load_config, local_folder, weights_hash
from inoc.backends.openweights.bundle import zip_folder
from inoc.backends.openweights.options import Options
from inoc.backends.protocols import ModelSpec
from inoc.errors import BadInput

FOLDER: Final = "model"
"""Where an uploaded model is in a job's folder."""
MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class Model:
    """The model of an experiment.

    Attributes:
        name: What stores and manifests say.
        upload: The folder to send; None if the worker has or downloads the model.
        on_worker: What the worker's local backend loads.
        place: Folder or hub name of its configuration and tokenizer.
        weights: sha256 over the safetensors files of a local model.
    """

    name: str
    upload: Path | None
    on_worker: str
    place: str
    weights: str | None


def find(spec: ModelSpec, options: Options) -> Model:
    """The model of an experiment; BadInput for a folder that is missing, without weights or too large to send."""
    folder = local_folder(spec)
    place = options.tokenizer or (str(folder) if folder else spec.id)
    if folder is None:
        return Model(spec.id, None, options.worker_model or spec.id, place, None)
    name = model_name(spec.id)
    weights = weights_hash(folder)
    if options.worker_model is not None:
        return Model(name, None, options.worker_model, place, weights)
    check_size(folder, options, f"the model '{spec.id}'", "name the worker's own copy in the option worker_model")
    return Model(name, folder, f"{FOLDER}/{name}", place, weights)


def check_size(folder: Path, options: Options, what: str, otherwise: str) -> None:
    """BadInput for a folder that is too large to send."""
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) / MEGABYTE
    if size > options.upload_mb:
        raise BadInput(
            f"{what} has {size:,.0f} MB, more than the {options.upload_mb} MB that are sent to a worker. "
            f"Fix: {otherwise}, or raise upload_mb."
        )


def zip_model(model: Model) -> bytes:
    """The folder of the model to upload."""
    assert model.upload is not None
    return zip_folder(model.upload, model.name)


def context_and_vocabulary(model: Model, spec: ModelSpec) -> tuple[int | None, int | None]:
    """What the configuration says; None where it cannot be read on this machine."""
    try:
        config = load_config(model.place, spec.revision)
    except BadInput:
        return None, None
    return getattr(config, "max_position_embeddings", None), getattr(config, "vocab_size", None)
