# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""The tokenizer of a backend that leaves the model to a service, and the fingerprints of any tokenizer."""

import hashlib
import json
from typing import TYPE_CHECKING

from inoc.errors import BackendUnavailable, BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(place: str, revision: str | None) -> "PreTrainedTokenizerBase":
    """The tokenizer of a folder, of a hub name or of "testbed"; no code of its repository is run.

    Raises:
        BackendUnavailable: transformers is not installed.
        BadInput: there is no tokenizer at that place.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise BackendUnavailable("tokenizers need transformers: pip install 'inoc[local]'.") from None
    if place == "testbed":
        from inoc.testbed import model_path

        place = str(model_path())
    try:
        return AutoTokenizer.from_pretrained(place, revision=revision)
    except (OSError, ValueError) as error:
        line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise BadInput(
            f"no tokenizer at {place!r} ({line}): set the option tokenizer to the model's folder or hub name."
        ) from None


def tokenizer_hash(tokenizer: "PreTrainedTokenizerBase") -> str:
    """sha256 of the tokenizer's whole state (vocabulary, merges, normaliser), of a slow one's vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(state.encode()).hexdigest()


def template_hash(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """sha256 of the chat template, None where there is none."""
    template = tokenizer.chat_template
    return None if template is None else hashlib.sha256(json.dumps(template).encode()).hexdigest()
