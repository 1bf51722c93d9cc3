"""From a model's directory to a model in memory."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
import transformers
from transformers import PreTrainedModel

from inoc.backends.library_errors import first_line
from inoc.backends.local.options import Device, Options
from inoc.backends.model_files import load_config
from inoc.errors import BackendUnavailable, BadInput

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: Device) -> torch.device:
    """The asked-for device, or the best one for "auto"; BackendUnavailable where it is absent."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = "cuda" if present["cuda"] else "mps" if present["mps"] else "cpu"
    if not present[device]:
        raise BackendUnavailable(
            f"this machine or this build of torch ({torch.__version__}) does not have the device '{device}'. "
            "Fix: set backend.options.device to auto or cpu."
        )
    return torch.device(device)


def load_model(directory: Path, dtype: str, options: Options) -> PreTrainedModel:
    """The causal language model in evaluation mode on its device."""
    device = choose_device(options.device)
    # sdpa leaves out the soft cap on attention scores that Gemma 2 was trained with
    capped = getattr(load_config(directory), "attn_logit_softcapping", None)
    arguments: dict[str, object] = {
        "dtype": DTYPES[dtype],
        "use_safetensors": True,
        "attn_implementation": "eager" if capped else options.attention,
    }
    if options.quantization is not None:
        if device.type != "cuda":
            raise BackendUnavailable("quantized loading needs a CUDA device. Fix: remove backend.options.quantization.")
        eight = options.quantization == "8bit"
        arguments["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_8bit=eight, load_in_4bit=not eight, bnb_4bit_compute_dtype=DTYPES[dtype]
        )
    if options.device_map is not None or device.type != "cpu":
        arguments["device_map"] = options.device_map or device
    with quiet():
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(directory, **arguments)  # pyright: ignore[reportUnknownMemberType]
        except ImportError as error:
            raise BackendUnavailable(
                f"the model in '{directory}' needs a package that is missing ({first_line(error)}). Fix: install it."
            ) from None
        except (ValueError, OSError) as error:
            if options.attention == "sdpa" and "scaled_dot_product_attention" in str(error):
                raise BadInput(
                    f"the model in '{directory}' has no sdpa attention. Fix: set backend.options.attention to eager."
                ) from None
            raise BadInput(f"the weights in '{directory}' cannot be loaded: {first_line(error)}") from None
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
