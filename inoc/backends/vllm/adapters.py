"""Reading a PEFT adapter's folder before vLLM does: what vLLM would refuse late or apply wrongly is refused here."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import BaseModel, ValidationError

from inoc.backends.vllm.known_bad import OUTPUT_ADAPTER, SAVED_MODULES, Fault
from inoc.errors import BackendRejected, BadInput
from inoc.hashing import content_hash, file_hash
from inoc.reading import parse_json

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values vLLM takes for the largest rank of an engine."""
OUTSIDE_LAYERS = ("lm_head", "embed_tokens", "embed_out", "wte")


@dataclass(frozen=True)
class Adapter:
    """A folder vLLM can load. `name` changes with place and content, so that no cache mixes two adapters."""

    name: str
    path: str
    rank: int


class _Config(BaseModel):
    """The fields of adapter_config.json that decide whether vLLM applies it as PEFT does."""

    r: int
    use_dora: bool = False
    lora_bias: bool = False
    bias: str = "none"
    modules_to_save: list[str] | None = None
    rank_pattern: dict[str, int] | None = None


def read_adapter(location: str) -> Adapter:
    """The adapter in this folder; BadInput where there is none, BackendRejected for one that vLLM cannot apply."""
    folder = Path(location)
    weights, config_file = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    for file in (weights, config_file):
        if not file.is_file():
            raise BadInput(f"the adapter '{location}' has no {file.name}. Fix: give a PEFT adapter's folder.")
    try:
        config = _Config.model_validate_json(config_file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{config_file} cannot be read: {first['loc']} {first['msg']}.") from None
    if config.modules_to_save:
        raise _rejection(location, SAVED_MODULES, ", ".join(config.modules_to_save))
    if config.use_dora or config.lora_bias or config.bias != "none":
        raise BackendRejected(
            f"vLLM cannot apply the adapter '{location}': it uses DoRA or trained biases. "
            "Fix: merge it or use the local backend."
        )
    for name in tensor_names(weights):
        if outside := [part for part in name.split(".") if part in OUTSIDE_LAYERS]:
            raise _rejection(location, OUTPUT_ADAPTER, outside[0])
    rank = max([config.r, *(config.rank_pattern or {}).values()])
    if rank > RANKS[-1]:
        raise BackendRejected(
            f"the adapter '{location}' has rank {rank}; vLLM takes at most {RANKS[-1]}. Fix: use the local backend."
        )
    path = str(folder.resolve())
    return Adapter(f"inoc-{content_hash(file_hash(weights), file_hash(config_file), path)}", path, rank)


def tensor_names(file: Path) -> tuple[str, ...]:
    """The names in a safetensors file, from its header alone."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 2 <= size <= file.stat().st_size:
            raise BadInput(f"{file} is not a safetensors file or is cut short. Fix: restore it.")
        try:
            header = cast(dict[str, object], parse_json(stream.read(size), str(file)))
        except BadInput:
            raise BadInput(f"{file} has a damaged header. Fix: restore it.") from None
    return tuple(str(name) for name in header if name != "__metadata__")


def engine_rank(rank: int) -> int:
    """The smallest rank vLLM takes that holds this one."""
    return next(size for size in RANKS if size >= rank)


def _rejection(location: str, fault: Fault, what: str) -> BackendRejected:
    return BackendRejected(f"vLLM cannot apply the adapter '{location}', which trains {what}: {fault}")
