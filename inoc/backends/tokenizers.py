"""The tokenizer of a backend that leaves the model to a service, and the fingerprints of any tokenizer."""

import json
from typing import cast

from inoc.backends.library_errors import first_line
from inoc.backends.protocols import ChatTokenizer
from inoc.errors import BackendUnavailable, BadInput
from inoc.hashing import bytes_hash


def load_tokenizer(place: str, revision: str | None) -> ChatTokenizer:
    """The tokenizer of a folder, of a hub name or of "testbed", else BadInput; no code of its repository is run."""
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise BackendUnavailable(
            "tokenizers need transformers. Fix: pip install -e '.[local]' in inoc's clone."
        ) from None
    if place == "testbed":
        from inoc.testbed import model_path

        place = str(model_path())
    try:
        return cast(ChatTokenizer, AutoTokenizer.from_pretrained(place, revision=revision))  # pyright: ignore[reportUnknownMemberType]
    except (OSError, ValueError) as error:
        raise BadInput(
            f"there is no tokenizer at {place!r} ({first_line(error)}). "
            "Fix: set backend.options.tokenizer (model.id where there is no such option) to a folder or hub name."
        ) from None


def tokenizer_hash(tokenizer: ChatTokenizer) -> str:
    """sha256 of the tokenizer's whole state (vocabulary, merges, normalizer), of a slow one's vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return bytes_hash(backend.to_str().encode())
    vocabulary: dict[str, int] = getattr(tokenizer, "get_vocab")()  # noqa: B009
    return bytes_hash(json.dumps(sorted(vocabulary.items())).encode())


def template_hash(tokenizer: ChatTokenizer) -> str | None:
    """sha256 of the chat template, None where there is none."""
    template = tokenizer.chat_template
    return None if template is None else bytes_hash(json.dumps(template).encode())
