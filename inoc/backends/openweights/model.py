# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The model of the jobs: what is uploaded, what the worker calls it, and what is known of it here."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inoc.backends.openweights.bundle import zip_folder
from inoc.backends.openweights.options import Options
from inoc.backends.protocols import ModelSpec
from inoc.errors import BadInput

FOLDER: Final = "model"
"""Where an uploaded model lies in a job's folder."""
MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class Model:
    """`name` is what stores and manifests say, `upload` the folder to send (None: the worker has or fetches it),
    `on_worker` what the worker's local backend loads."""

    name: str
    upload: Path | None
    on_worker: str
    place: str
    """Folder or hub name of its configuration and tokenizer."""
    weights: str | None
    """sha256 over the safetensors files, where they are here."""


def find(spec: ModelSpec, options: Options) -> Model:
    """The model of an experiment.

    Raises:
        BadInput: no such folder, no weights in it, or too large to be sent.
    """
    folder = _folder(spec)
    place = options.tokenizer or (str(folder) if folder else spec.id)
    if folder is None:
        return Model(spec.id, None, options.worker_model or spec.id, place, None)
    name = "testbed" if spec.id == "testbed" else folder.resolve().name
    weights = weights_hash(folder)
    if options.worker_model is not None:
        return Model(name, None, options.worker_model, place, weights)
    check_size(folder, options, f"the model '{spec.id}'", "give the worker's own copy as option worker_model")
    return Model(name, folder, f"{FOLDER}/{name}", place, weights)


def check_size(folder: Path, options: Options, what: str, otherwise: str) -> None:
    """BadInput for a folder that is too large to be sent."""
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) / MEGABYTE
    if size > options.upload_mb:
        raise BadInput(
            f"{what} has {size:,.0f} MB, more than the {options.upload_mb} MB that are sent to a worker: {otherwise}, "
            "or raise upload_mb."
        )


def zip_model(model: Model) -> bytes:
    """The folder of the model to upload."""
    assert model.upload is not None
    return zip_folder(model.upload, model.name)


def context_and_vocabulary(model: Model, spec: ModelSpec) -> tuple[int | None, int | None]:
    """What the configuration says; None where it cannot be read here."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model.place, revision=spec.revision).get_text_config()
    except (OSError, ValueError):
        return None, None
    return getattr(config, "max_position_embeddings", None), getattr(config, "vocab_size", None)


def weights_hash(folder: Path) -> str:
    """sha256 over the names and sha256 sums of the safetensors files: the local backend's, without its libraries."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(f"'{folder}' holds no safetensors weights; pickled weights are not loaded.")
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(f"{file.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _folder(spec: ModelSpec) -> Path | None:
    """The local folder of the model; None for a hub name."""
    if spec.id == "testbed":
        from inoc.testbed import model_path

        return model_path()
    folder = Path(spec.id).expanduser()
    if folder.is_dir():
        return folder
    if spec.id.startswith((".", "/", "~")) or spec.id.count("/") != 1:
        raise BadInput(
            f"there is no model directory '{spec.id}' (and it is no hub name of the form owner/model)."
        )
    return None
