"""A trained adapter from the service as a PEFT folder."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final, cast
from urllib.request import urlopen

from inoc.atomic import write_folder
from inoc.backends.manifest import MANIFEST, seal
from inoc.backends.protocols import AdapterSettings, Checkpoint
from inoc.backends.tinker.service import Service
from inoc.backends.tinker.train import training_weights
from inoc.errors import BackendUnavailable, BadInput, BadResult
from inoc.hashing import file_hash
from inoc.reading import read_json
from inoc.values import Scalar

log = logging.getLogger("inoc.backends.tinker")

LARGEST: Final = 2**36
"""Bytes of one file of an adapter that are fetched at most."""
WANTED: Final = ("adapter_config.json", "adapter_model.safetensors")


def download(service: Service, checkpoint: Checkpoint, directory: Path, base: Mapping[str, Scalar]) -> Checkpoint:
    """Export a checkpoint on the service and fetch its files into a new folder: a local checkpoint for PEFT.

    `manifest.json` in the folder records the files' hashes, the origin, the base model and the adapter's settings. They
    are read from the exported configuration, the only place where the service says its alpha; a difference from what
    was recorded in training is a warning. BadInput without an adapter on the service or with an existing directory,
    BadResult for an export that lacks a file or names one outside the folder.
    """
    if checkpoint.location is None:
        raise BadInput("step 0 is the base model, which has no adapter. Fix: download a trained checkpoint.")
    if directory.exists():
        raise BadInput(f"'{directory}' exists already. Fix: name a new folder.")
    weights = training_weights(checkpoint.location)
    client = service.client
    training = service.call(lambda: client.create_training_client_from_state(weights).result())
    saved = service.wait(training.save_weights_external(weights.rsplit("/", 1)[1]).future())
    urls = service.call(lambda: service.rest().get_external_weights_urls(saved.path).result().urls)
    for name in urls:
        if Path(name).name != name or name.startswith("."):
            raise BadResult(f"the service's export names a file outside its folder: {name!r}.")
    lacking = [name for name in WANTED if name not in urls]
    if lacking:
        raise BadResult(f"the service's export lacks {lacking[0]}; it has {', '.join(sorted(urls)) or 'nothing'}.")

    def fill(folder: Path) -> None:
        for name, url in urls.items():
            fetch(url, folder / name, service.options.timeout)
        manifest = {
            "source": checkpoint.location,
            "step": checkpoint.step,
            "base": dict(base),
            "adapter": asdict(exported_adapter(folder / WANTED[0])),
            "recorded_adapter": asdict(checkpoint.adapter),
        }
        seal(folder, manifest)

    directory.parent.mkdir(parents=True, exist_ok=True)
    write_folder(directory, fill)
    adapter = exported_adapter(directory / WANTED[0])
    if adapter != checkpoint.adapter:
        log.warning("the adapter's configuration says %s, but %s was recorded", adapter, checkpoint.adapter)
    return Checkpoint(checkpoint.step, str(directory), adapter, file_hash(directory / MANIFEST))


def fetch(url: str, target: Path, timeout: float) -> None:
    """Fetch a signed address of at most `LARGEST` bytes. The address is never shown: it gives access to the file."""
    if not url.startswith(("https://", "http://")):
        raise BadResult(f"the service gives an address for '{target.name}' that is not http(s). Fix: try again later.")
    try:
        with urlopen(url, timeout=timeout) as reply, target.open("wb") as file:
            while chunk := reply.read(2**20):
                if file.tell() + len(chunk) > LARGEST:
                    raise BadResult(
                        f"'{target.name}' of the service has more than {LARGEST >> 30} GiB. Fix: check the service."
                    )
                file.write(chunk)
    except (OSError, ValueError) as error:
        raise BackendUnavailable(
            f"'{target.name}' cannot be fetched from the service ({type(error).__name__}). Fix: try again."
        ) from None


def exported_adapter(path: Path) -> AdapterSettings:
    """The settings in a PEFT configuration; BadResult for any other file."""
    try:
        config = cast(Mapping[str, object], read_json(path))
        found = set(cast(list[str], config["target_modules"]))
        order = [name for name in AdapterSettings().targets if name in found]
        return AdapterSettings(
            "lora",
            rank=int(cast(int, config["r"])),
            alpha=float(cast(float, config["lora_alpha"])),
            rslora=bool(config.get("use_rslora", False)),
            dropout=float(cast(float, config.get("lora_dropout", 0.0))),
            targets=(*order, *sorted(found - set(order))),
        )
    except (BadInput, ValueError, KeyError, TypeError):
        raise BadResult(f"the exported {path.name} is not the PEFT configuration of a LoRA adapter.") from None
