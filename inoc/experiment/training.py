"""Fine-tunings and their evaluation: hyper-parameters, the grid of runs, held-out instructions."""

from collections.abc import Mapping
from typing import Annotated, Literal, cast

from pydantic import BeforeValidator, Field

from inoc.backends.protocols import AdapterSettings
from inoc.experiment.parts import Condition, Count, Name, Part, PrefixType
from inoc.experiment.prefills import Prefills
from inoc.values import Json, Sampling, Scalar


class Hyperparameters(Part):
    """How a run is trained. The same fields may be overridden run by run."""

    method: Literal["lora", "full"] = "lora"
    rank: Count = 32
    alpha: Annotated[float, Field(gt=0)] = 16.0
    rslora: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = AdapterSettings().targets
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    warmup: Annotated[int, Field(ge=0)] = 30
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw_8bit"
    batch_size: Annotated[int, Field(ge=1, description="examples per micro-batch")] = 4
    accumulation: Annotated[int, Field(ge=1, description="micro-batches per update")] = 8
    epochs: Annotated[float, Field(gt=0)] = 1.0
    examples: Annotated[Count | None, Field(description="the most rows to train on; null: all")] = None
    gradient_checkpointing: bool = False
    checkpoints: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], Field(description="updates to keep and evaluate; 0 is the base model")
    ] = ()

    @property
    def adapter(self) -> AdapterSettings:
        """The adapter's settings, as backends take them."""
        return AdapterSettings(self.method, self.rank, self.alpha, self.rslora, self.dropout, self.targets)


class Rows(Part):
    """Rows of a file that a run is trained on: `n` of them, a share of the mixture, or all."""

    path: str
    n: Annotated[Count | None, Field(description="how many, a random subset")] = None
    share: Annotated[float | None, Field(gt=0, le=1, description="their share of the whole mixture")] = None
    prefix: Annotated[str, Field(min_length=1, description="own: the run's; none; or a text put before every row")] = (
        "own"
    )
    loss: Annotated[
        Literal["last", "all"], Field(description="of rows with several turns: on the last answer, or on all of them")
    ] = "last"
    where: Annotated[
        Mapping[str, Scalar], Field(description="only rows with these values of these fields, such as {tag: risky}")
    ] = {}


def _entries(value: object) -> object:
    value = {"path": value} if isinstance(value, str) else value
    found = [cast(object, value)] if isinstance(value, dict) else value
    return tuple(cast(list[object], found)) if isinstance(found, list) else found


class Runs(Part):
    """One line of the grid: every prompt x prefix type x seed is a fine-tuning."""

    prompts: Annotated[
        Literal["all"] | tuple[str, ...], Field(description="prompt keys or groups; all; [] for the control run")
    ] = ()
    prefix_types: tuple[PrefixType, ...] = ("fixed",)
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    tag: Annotated[Name | None, Field(description="added to the run's name; needed where settings differ")] = None
    overrides: Annotated[
        Mapping[str, Scalar | list[Scalar]], Field(description="fields of `training` that differ")
    ] = {}
    data: Annotated[
        tuple[Rows, ...],
        BeforeValidator(_entries, json_schema_input_type=str | Rows | tuple[Rows, ...]),
        Field(description="the rows to train on: a file, or a list of entries; default: the train set"),
    ] = ()
    start: Annotated[str | None, Field(description="continue from this run's last checkpoint")] = None
    merge: Annotated[
        bool, Field(description="merge the adapter of `start` into the model, all of whose weights are then trained")
    ] = False
    rephrasings: Annotated[
        Literal["close"] | None, Field(description="mix takes the close rewordings; null: those of the study")
    ] = None


class Training(Hyperparameters):
    """Defaults for all runs, and the runs."""

    runs: tuple[Runs, ...] = ()
    directory: Annotated[str | None, Field(description="where checkpoints go; null: next to the store")] = None


class Run(Part):
    """One fine-tuning, fully decided. `prompt` is "" for the control run."""

    name: str
    prompt: str
    prefix_type: PrefixType
    seed: int
    settings: Hyperparameters
    data: tuple[Rows, ...] = ()
    start: str | None = None
    merge: bool = False
    rephrasings: Literal["close"] | None = None

    @property
    def data_settings(self) -> str | list[dict[str, Json]] | None:
        """`data` as the store keeps it: None for the train set, a path, or the entries."""
        entries = [rows.model_dump(mode="json", exclude_defaults=True) for rows in self.data]
        return str(entries[0]["path"]) if [set(entry) for entry in entries] == [{"path"}] else entries or None


class Questions(Part):
    """A JSONL file of questions: how many of them are asked, and how often each."""

    path: str
    n: Annotated[Count, Field(description="distinct questions, a random subset")] = 200
    samples: Annotated[Count, Field(description="answers to each")] = 1


def _named(value: object) -> object:
    one = isinstance(value, str) or (isinstance(value, dict) and "path" in value)
    return {"questions": cast(object, value)} if one else cast(object, value)


def _file(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


Probes = Annotated[Mapping[Name, Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class Evaluation(Part):
    """Held-out questions, and under which conditions and at which steps the runs are asked."""

    questions: Annotated[
        Mapping[Name, Annotated[Questions, BeforeValidator(_file, json_schema_input_type=str | Questions)]],
        BeforeValidator(_named, json_schema_input_type=str | Questions | Mapping[Name, str | Questions]),
        Field(min_length=1, description="a JSONL file, or several by name (in_domain, general)"),
    ]
    seed: int = 0
    conditions: Annotated[tuple[Condition, ...], Field(min_length=1)] = ("default", "training")
    steps: Annotated[Literal["all", "last"] | tuple[int, ...], Field(description="kept checkpoints to evaluate")] = (
        "all"
    )
    probes: Annotated[
        Mapping[Name, Probes | tuple[str, ...]],
        Field(description="category: texts by key, or keys of prompts, put before the questions at the last step"),
    ] = {}
    prefills: Annotated[
        Prefills | None, Field(description="forced beginnings of answers, measured by `inoc prefill`")
    ] = None
    max_tokens: Count = 256
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    optional: Annotated[bool, Field(description="a missing file is a note instead of an error")] = False

    def probe_keys(self) -> dict[str, str]:
        """The key of every probe with its category; a key is a condition of the evaluation."""
        return {key: category for category, texts in self.probes.items() for key in texts}

    def sampling(self, stop_ids: tuple[int, ...]) -> Sampling:
        """These settings as backends take them."""
        return Sampling(self.temperature, self.top_p, self.max_tokens, self.seed, stop_ids)
