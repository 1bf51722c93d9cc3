# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""From a ModelSpec to a model in memory: find the directory, choose the device, load, fingerprint.

Only safetensors weights are read and no code of a model repository is ever run.
"""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from inoc.backends.local.options import Device, Options
from inoc.backends.protocols import ModelSpec
from inoc.errors import BackendUnavailable, BadInput

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True)
class Source:
    """Where a model lies on this machine, and the hub commit it is if it came from there."""

    directory: Path
    commit: str | None


def find(spec: ModelSpec) -> Source:
    """The model's directory: "testbed", a local directory, or a hub name (downloaded or cached)."""
    if spec.id == "testbed":
        from inoc.testbed import model_path

        return Source(Path(model_path()), None)
    path = Path(spec.id).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise BadInput(f"the model directory '{spec.id}' holds no config.json: not a transformers model.")
        return Source(path, None)
    if spec.id.startswith((".", "/", "~")) or spec.id.count("/") != 1:
        raise BadInput(
            f"there is no model directory '{spec.id}' (and it is no hub name of the form owner/model)."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(spec.id, revision=spec.revision, allow_patterns=HUB_FILES))
    except LocalEntryNotFoundError:
        raise BackendUnavailable(
            f"the model '{spec.id}' is not in the local hub cache and the hub cannot be reached; "
            "download it where there is network, or give a local directory."
        ) from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise BadInput(
            f"the hub refuses '{spec.id}' ({type(error).__name__}): check its name, revision and access."
        ) from None
    return Source(found, found.name)


def present(spec: ModelSpec) -> Path | None:
    """The model's directory where its weights lie on this machine; unlike `find` it never asks the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        if spec.id == "testbed" or Path(spec.id).expanduser().is_dir():
            folder = find(spec).directory
        else:
            folder = Path(snapshot_download(spec.id, revision=spec.revision, local_files_only=True))
    except (BadInput, HFValidationError, LocalEntryNotFoundError):
        return None
    return folder if any(folder.glob("*.safetensors")) else None


def choose_device(device: Device) -> torch.device:
    """The asked-for device, or the best one for "auto"; BackendUnavailable where it is absent."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = "cuda" if present["cuda"] else "mps" if present["mps"] else "cpu"
    if not present[device]:
        raise BackendUnavailable(
            f"the experiment asks for device '{device}', which this machine or this build of torch "
            f"({torch.__version__}) does not have; set the option device to auto or cpu."
        )
    return torch.device(device)


def load_config(source: Source) -> PretrainedConfig:
    try:
        return transformers.AutoConfig.from_pretrained(source.directory)
    except (ValueError, OSError) as error:
        raise BadInput(
            f"the model configuration in '{source.directory}' cannot be read: {_line(error)}"
        ) from None


def load_tokenizer(source: Source) -> PreTrainedTokenizerBase:
    try:
        return transformers.AutoTokenizer.from_pretrained(source.directory)
    except (ValueError, OSError) as error:
        raise BadInput(f"the tokenizer in '{source.directory}' cannot be read: {_line(error)}") from None


def load_model(source: Source, spec: ModelSpec, options: Options) -> PreTrainedModel:
    """The causal language model in evaluation mode on its device."""
    device = choose_device(options.device)
    # sdpa leaves out the soft cap on attention scores that Gemma 2 was trained with
    capped = getattr(load_config(source).get_text_config(), "attn_logit_softcapping", None)
    arguments: dict[str, object] = {
        "dtype": DTYPES[spec.dtype],
        "use_safetensors": True,
        "attn_implementation": "eager" if capped else options.attention,
    }
    if options.quantization is not None:
        if device.type != "cuda":
            raise BackendUnavailable(
                "quantised loading needs a CUDA device; leave the option quantization out."
            )
        eight = options.quantization == "8bit"
        arguments["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_8bit=eight, load_in_4bit=not eight, bnb_4bit_compute_dtype=DTYPES[spec.dtype]
        )
    if options.device_map is not None or device.type != "cpu":
        arguments["device_map"] = options.device_map or device
    with quiet():
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(source.directory, **arguments)
        except ImportError as error:
            raise BackendUnavailable(
                f"loading '{spec.id}' needs a package that is missing: {_line(error)}"
            ) from None
        except (ValueError, OSError) as error:
            if options.attention == "sdpa" and "scaled_dot_product_attention" in str(error):
                raise BadInput(
                    f"'{spec.id}' has no sdpa attention; set the option attention to eager."
                ) from None
            raise BadInput(f"the weights in '{source.directory}' cannot be loaded: {_line(error)}") from None
    return model.eval()


@contextmanager
def quiet() -> Generator[None]:
    """No progress bars of the model library while it loads; inoc shows its own."""
    from transformers.utils import logging

    was = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was:
            logging.enable_progress_bar()


def weights_hash(directory: Path) -> str:
    """sha256 over the names and sha256 sums of the safetensors files, in name order.

    A file of the hub cache is a link to a blob named by its sha256: that name is used, not 15 GB read again.
    """
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise BadInput(f"'{directory}' holds no safetensors weights; pickled weights are not loaded.")
    total = hashlib.sha256()
    for file in files:
        blob = file.resolve().name if file.is_symlink() else ""
        if len(blob) == 64 and all(c in "0123456789abcdef" for c in blob):
            digest = blob
        else:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.name} {digest}\n".encode())
    return total.hexdigest()


def _line(error: Exception) -> str:
    """The first line of a library's error, which can be pages long."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[
        :300
    ]
