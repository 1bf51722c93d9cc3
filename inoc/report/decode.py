"""The text of each token of a completion, from token ids and a `tokenizer.json` on this machine."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from inoc.errors import BackendUnavailable, BadInput
from inoc.store.store import Store

BROKEN = "\ufffd"
"""What a decoder writes for bytes that are part of a character."""
LONGEST = 8
"""No character is spread over more tokens than this."""


@runtime_checkable
class Decodes(Protocol):
    """What the viewer needs of a tokenizer."""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str: ...


def find_tokenizer(store: Store, given: Path | None) -> tuple[Decodes | None, str]:
    """The tokenizer given, else the model's own if it is on this machine; and why there is no tokenizer. Nothing is
    downloaded. BadInput or BackendUnavailable where the one given cannot be read."""
    if given is not None:
        return load_tokenizer(given), ""
    name = model_name(store)
    place = Path(name)
    if name.partition(":")[0] == "testbed":
        from inoc.testbed import model_path

        place = model_path(name)
    if not name or not (place / "tokenizer.json").is_file():
        return None, f"the tokenizer of the model{f' {name}' if name else ''} is not on this machine"
    try:
        return load_tokenizer(place), ""
    except BackendUnavailable as error:
        return None, str(error)


def model_name(store: Store) -> str:
    """The model of the experiment; "" where the store does not say it."""
    model = store.experiment.get("model", "")
    return str(cast(Mapping[str, object], model).get("id", "") if isinstance(model, Mapping) else model)


def load_tokenizer(path: Path) -> Decodes:
    """A tokenizer from a `tokenizer.json`, or from the directory that holds one, else BadInput; code of the model is
    not run. BackendUnavailable without the package tokenizers."""
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise BadInput(f"{path} has no tokenizer.json. Fix: give the model's directory or the file with --tokenizer.")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise BackendUnavailable(
            "the text of tokens needs the package tokenizers. Fix: pip install -e '.[local]' in inoc's clone."
        ) from error
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise BadInput(
            f"{file} cannot be read as a tokenizer ({error}). Fix: give another one with --tokenizer."
        ) from error


def pieces(tokenizer: Decodes, ids: Sequence[int]) -> tuple[str, ...]:
    """The text every token adds; together they are the decoded completion.

    Each token is decoded after the one before it, since some tokenizers treat the first token apart. A token that
    ends inside a character adds "", and the token that completes the character adds all of it.
    """
    found: list[str] = []
    context = start = 0
    for i in range(len(ids)):
        before = tokenizer.decode(ids[context:start], skip_special_tokens=False)
        after = tokenizer.decode(ids[context : i + 1], skip_special_tokens=False)
        if after.endswith(BROKEN) and i + 1 < len(ids) and i - start < LONGEST:
            found.append("")
            continue
        found.append(after[len(before) :])
        context, start = start, i + 1
    return tuple(found)


def agrees(texts: Sequence[str], completion: str) -> bool:
    """Whether the token texts begin with the stored completion (white space around it aside)."""
    decoded = unicodedata.normalize("NFC", "".join(texts)).strip()
    return decoded.startswith(unicodedata.normalize("NFC", completion).strip())
