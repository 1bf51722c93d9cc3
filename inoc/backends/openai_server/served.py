"""What a server serves: finding the experiment's model among its models, and loading adapters into it."""

from pathlib import Path
from typing import Final

from pydantic import BaseModel

from inoc.backends.manifest import Verifier
from inoc.backends.protocols import Checkpoint
from inoc.errors import BackendRejected, BackendUnavailable, BadResult
from inoc.hashing import content_hash, file_hash
from inoc.services import RequestRefused, Service

ADAPTER_HELP: Final = (
    "start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in the environment and "
    "--enable-lora --max-lora-rank 32 (or the adapter's rank)."
)


class ServedModel(BaseModel):
    """One entry of /v1/models. vLLM adds `root`, the path, and `parent`, the base model of an adapter."""

    id: str
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class _List(BaseModel):
    data: list[ServedModel]


class _Version(BaseModel):
    version: str


class Served:
    """The models of one server, asked for when first needed."""

    def __init__(self, service: Service, model_id: str, served_name: str | None) -> None:
        self._service = service
        self._model_id = model_id
        self._served_name = served_name
        self._base: ServedModel | None = None
        self._loaded: dict[str, str] = {}
        self._verifier = Verifier()

    def list(self) -> tuple[ServedModel, ...]:
        """/v1/models; BackendUnavailable within seconds where no server answers."""
        reply = self._service.wait(self._service.get("/models", _List.model_validate_json, self._service.quick))
        return tuple(reply.data)

    def version(self) -> str | None:
        """The server's version from /version, where it has that (vLLM does)."""
        url = self._service.url.rstrip("/").removesuffix("/v1") + "/version"
        try:
            get = self._service.get(url, _Version.model_validate_json, self._service.quick)
            return self._service.wait(get).version
        except BackendRejected:
            return None

    @property
    def base(self) -> ServedModel:
        """The served model with the experiment's name or path, or of served_name (no guess); else BackendRejected."""
        if self._base is None:
            models = self.list()
            wanted = self._served_name or self._model_id
            found = [model for model in models if wanted in (model.id, model.root)]
            if not found:
                names = ", ".join(model.id for model in models) or "no model"
                raise BackendRejected(
                    f"{self._service.where} does not serve {wanted!r}; it serves {names}. Fix: set "
                    "backend.options.served_name to a model it serves, or start the server with this model."
                )
            self._base = found[0]
        return self._base

    def name_for(self, checkpoint: Checkpoint | None) -> str:
        """The served name of the base model or of an adapter, which is loaded if needed; else BackendRejected."""
        if checkpoint is None or checkpoint.location is None:
            return self.base.id
        location = checkpoint.location
        if location in self._loaded:
            return self._loaded[location]
        if any(location == model.id for model in self.list()):
            return location
        if checkpoint.adapter.kind == "full":
            raise BackendRejected(
                f"the fully fine-tuned model {location} cannot be loaded into {self._service.where}. "
                "Fix: serve it and set backend.options.served_name."
            )
        if Path(location).is_dir():  # else the server has the files, and this machine does not
            self._verifier.check(checkpoint)
        name = adapter_name(location)
        body = {"lora_name": name, "lora_path": location}
        try:
            self._service.wait(self._service.post("/load_lora_adapter", body, lambda content: content))
        except RequestRefused as error:
            if "already" not in str(error):
                raise BackendRejected(f"the adapter {location} cannot be loaded: {error}") from None
        except BackendRejected as error:
            raise BackendRejected(
                f"{self._service.where} does not load adapters ({error}). Fix: {ADAPTER_HELP}"
            ) from None
        self._loaded[location] = name
        return name

    def unload(self) -> None:
        """Unload the adapters that were loaded; a server that no longer answers is not an error."""
        for name in self._loaded.values():
            body, quick = {"lora_name": name}, self._service.quick
            try:
                self._service.wait(self._service.post("/unload_lora_adapter", body, lambda content: content, quick))
            except BackendRejected:
                continue
            except (BackendUnavailable, BadResult):
                break
        self._loaded.clear()


def adapter_name(location: str) -> str:
    """A name that changes with the adapter's location and, if this machine has the files, with their content."""
    return f"inoc-{content_hash(location, *map(file_hash, sorted(Path(location).glob('adapter_*'))))}"
