"""A trained adapter from the service as a PEFT folder."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.request import urlopen

from inoc.backends.protocols import AdapterSettings, Checkpoint
from inoc.backends.tinker.train import training_weights
from inoc.errors import BackendUnavailable, BadInput, BadResult

if TYPE_CHECKING:
    from inoc.backends.tinker.backend import TinkerBackend

log = logging.getLogger("inoc.backends.tinker")

WANTED: Final = ("adapter_config.json", "adapter_model.safetensors")
MANIFEST: Final = "tinker.json"


def download(backend: "TinkerBackend", checkpoint: Checkpoint, directory: Path) -> Checkpoint:
    """Export a checkpoint on the service and fetch its files into `directory`, which must not exist yet.

    Beside the adapter lies `tinker.json`: where it comes from, its base model and its settings. They are read from
    the exported configuration, the only place where the service says its alpha; where it is not what was recorded
    when it was trained, that is warned about.

    Returns:
        The same checkpoint as a local one, for backends that load PEFT folders.

    Raises:
        BadInput: the base model has no adapter, the checkpoint is no service's, or the directory exists.
        BadResult: the export lacks a file or names one outside the folder.
    """
    if checkpoint.location is None:
        raise BadInput("step 0 is the base model: there is no adapter to download.")
    if directory.exists():
        raise BadInput(f"'{directory}' exists already: name a new folder.")
    weights, service = training_weights(checkpoint.location), backend.service
    client = service.client
    training = service.call(lambda: client.create_training_client_from_state(weights).result())
    saved = service.wait(training.save_weights_external(weights.rsplit("/", 1)[1]).future())
    import tinker

    key = service.key
    urls = service.call(
        lambda: (
            tinker.RestClient(base_url=service.url, api_key=key)
            .get_external_weights_urls(saved.path)
            .result()
            .urls
        )
    )
    temporary = directory.with_name(f".{directory.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, url in urls.items():
        if Path(name).name != name or name.startswith("."):
            raise BadResult(f"the service's export names a file outside its folder: {name!r}.")
        fetch(url, temporary / name, backend.options.timeout)
    lacking = [name for name in WANTED if name not in urls]
    if lacking:
        raise BadResult(
            f"the service's export has no {lacking[0]}; it has {', '.join(sorted(urls)) or 'nothing'}."
        )
    adapter = exported_adapter(temporary / WANTED[0])
    if adapter != checkpoint.adapter:
        log.warning("the adapter's configuration says %s, recorded was %s", adapter, checkpoint.adapter)
    manifest = {
        "source": checkpoint.location,
        "step": checkpoint.step,
        "base": dict(backend.identity()),
        "adapter": asdict(adapter),
        "recorded_adapter": asdict(checkpoint.adapter),
    }
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    temporary.rename(directory)
    return Checkpoint(checkpoint.step, str(directory), adapter)


def fetch(url: str, target: Path, timeout: float) -> None:
    """One signed address, which is not shown: whoever has it can read the file."""
    try:
        with urlopen(url, timeout=timeout) as reply, target.open("wb") as file:
            shutil.copyfileobj(reply, file)
    except (OSError, ValueError) as error:
        raise BackendUnavailable(
            f"'{target.name}' could not be fetched from the service ({type(error).__name__}): try again."
        ) from None


def exported_adapter(path: Path) -> AdapterSettings:
    """The settings in a PEFT configuration; BadResult where it is none."""
    try:
        config = cast(Mapping[str, object], json.loads(path.read_text()))
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
    except (ValueError, KeyError, TypeError):
        raise BadResult(f"the exported {path.name} is no PEFT configuration of a LoRA adapter.") from None
