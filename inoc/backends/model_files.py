"""A base model's files on this machine: where they lie, what they are, and what was trained on them.

Only safetensors weights are read, and no code of a model repository is ever run. Nothing here needs torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from inoc.backends.base import identity_of
from inoc.backends.library_errors import first_line
from inoc.backends.manifest import RESTORE, Verifier
from inoc.backends.protocols import ChatTokenizer, Checkpoint, ModelSpec
from inoc.backends.tokenizers import load_tokenizer
from inoc.errors import BackendUnavailable, BadInput
from inoc.hashing import bytes_hash, file_hash
from inoc.values import Scalar

if TYPE_CHECKING:
    from transformers import PretrainedConfig

HUB_FILES: Final = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True)
class Source:
    """Where a model lies on this machine, and the hub commit if it came from there."""

    directory: Path
    commit: str | None


class ModelFiles:
    """A base model's directory, found and read on first use; engine and quantization are for its identity."""

    def __init__(self, spec: ModelSpec, engine: str, quantization: str | None = None) -> None:
        self.spec, self._about = spec, {"quantization": quantization, "engine": engine}
        self._verifier = Verifier()

    @cached_property
    def source(self) -> Source:
        """The directory; raises as `find` does."""
        return find(self.spec)

    @cached_property
    def config(self) -> "PretrainedConfig":
        """The configuration of the text model."""
        return load_config(self.source.directory)

    @cached_property
    def tokenizer(self) -> ChatTokenizer:
        """The tokenizer in the directory."""
        return load_tokenizer(str(self.source.directory), None)

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return int(self.config.vocab_size)

    @property
    def context_length(self) -> int:
        """Tokens of context and completion together."""
        return int(self.config.max_position_embeddings)

    @cached_property
    def identity(self) -> dict[str, Scalar]:
        """All fields that change values, weights included; reads all weights once."""
        return {
            **identity_of(self.spec, self.tokenizer),
            "revision": self.source.commit or self.spec.revision,
            "weights": weights_hash(self.source.directory),
            **self._about,
        }

    def check(self) -> None:
        """BadInput where configuration or weights are missing; weights are not read."""
        _ = self.config
        _weight_files(self.source.directory)

    def check_checkpoint(self, checkpoint: Checkpoint) -> None:
        """BadInput where a checkpoint's files are not as they were written, or it was trained on another base model."""
        manifest = self._verifier.check(checkpoint) or {}
        base = cast(Mapping[str, object], manifest.get("base") or {})
        if not isinstance(base, dict):
            raise BadInput(f"the manifest of '{checkpoint.location}' names no base model. Fix: {RESTORE}.")
        for field in ("weights", "tokenizer"):
            if base.get(field) not in (None, self.identity[field]):
                raise BadInput(
                    f"the checkpoint '{checkpoint.location}' was trained on {base.get('model')}, whose {field} hash "
                    f"differs from that of {self.identity['model']}. Fix: use the model it was trained on."
                )


def find(spec: ModelSpec) -> Source:
    """The model's directory: "testbed", a local directory, or a hub name (downloaded or cached).

    BadInput where it is not a transformers model, BackendUnavailable where it is not cached and the hub not reached.
    """
    folder = local_folder(spec)
    if folder is not None:
        return Source(folder, None)
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(spec.id, revision=spec.revision, allow_patterns=HUB_FILES))
    except LocalEntryNotFoundError:
        raise BackendUnavailable(
            f"the model '{spec.id}' is not in the local hub cache and the hub cannot be reached. "
            "Fix: download it where there is network, or set model.id to a local directory."
        ) from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise BadInput(
            f"the hub refuses '{spec.id}' ({type(error).__name__}). Fix: check its name, revision and access."
        ) from None
    return Source(found, found.name)


def local_folder(spec: ModelSpec) -> Path | None:
    """The directory of "testbed" or of a path, which BadInput refuses unless it has a model; None for a hub name."""
    if spec.id == "testbed":
        from inoc.testbed import model_path

        return Path(model_path())
    path = Path(spec.id).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise BadInput(
                f"the model directory '{spec.id}' has no config.json. Fix: set model.id to a transformers model."
            )
        return path
    if spec.id.startswith((".", "/", "~")) or spec.id.count("/") != 1:
        raise BadInput(
            f"there is no model directory '{spec.id}'. Fix: set model.id to a directory or a hub name (owner/model)."
        )
    return None


def load_config(place: Path | str, revision: str | None = None) -> "PretrainedConfig":
    """The configuration of the text model in a directory or of a hub name; BadInput where it cannot be read."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(place, revision=revision)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return cast("PretrainedConfig", config.get_text_config())  # pyright: ignore[reportUnknownMemberType]
    except (ValueError, OSError) as error:
        raise BadInput(f"the model configuration in '{place}' cannot be read: {first_line(error)}") from None


def present(spec: ModelSpec) -> Path | None:
    """The model's directory where its weights are on this machine; unlike `find` it never asks the hub."""
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = local_folder(spec) or Path(snapshot_download(spec.id, revision=spec.revision, local_files_only=True))
    except (BadInput, HFValidationError, LocalEntryNotFoundError):
        return None
    return folder if any(folder.glob("*.safetensors")) else None


def weights_hash(directory: Path) -> str:
    """sha256 over the names and sha256 sums of the safetensors files, in name order.

    A file of the hub cache is a link to a blob named by its sha256: that name is used, not 15 GB read again.
    """
    lines: list[str] = []
    for file in _weight_files(directory):
        blob = file.resolve().name if file.is_symlink() else ""
        known = len(blob) == 64 and all(c in "0123456789abcdef" for c in blob)
        lines.append(f"{file.name} {blob if known else file_hash(file)}\n")
    return bytes_hash("".join(lines).encode())


def _weight_files(directory: Path) -> list[Path]:
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise BadInput(
            f"'{directory}' has no safetensors weights. Fix: convert the weights; pickled ones are not loaded."
        )
    return files
