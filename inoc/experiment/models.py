"""The experiment as values: pydantic models, frozen, unknown fields refused.

The YAML file has the same shape.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from inoc.backends.protocols import ModelSpec
from inoc.errors import BadInput
from inoc.experiment.cluster import Cluster
from inoc.experiment.inside import Inside
from inoc.experiment.parts import Count, Name, Part, Placement, PluginName, Role
from inoc.experiment.scores import Score
from inoc.experiment.training import Evaluation, Hyperparameters, Run, Runs, Training
from inoc.names import unknown
from inoc.values import Scalar


class Model(Part):
    """The base model and how its turns are written."""

    id: Annotated[str, Field(min_length=1, description='a local folder, a hub name, or "testbed"')]
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    system_prompt: Annotated[
        str | None,
        Field(description='null: no system turn is written; "": an empty one is. They are different baselines'),
    ] = None
    template_options: Annotated[
        Mapping[str, Scalar], Field(description="variables for the chat template, such as enable_thinking: false")
    ] = {}


ScoreName = Annotated[str, Field(max_length=100, pattern=r"^[^'\"\n]+$")]


class BackendChoice(Part):
    """Which backend does the work; `options` are its own settings (device, quantization, url, ...)."""

    name: PluginName = "local"
    options: Mapping[str, Scalar] = {}


class PromptGroup(Part):
    """Prompts of one family. `role` follows from the family; write it only to have it checked."""

    family: Annotated[str, Field(description="the family of a trait, or neutral")]
    role: Role | None = None
    prompts: Annotated[Mapping[Name, Annotated[str, Field(min_length=1)]], Field(min_length=1)]


class Prompt(Part):
    """One inoculation prompt, as every stage sees it."""

    key: str
    text: str
    group: str
    family: str
    role: Role


class OtherModel(Part):
    """A model that is not the study's, behind any backend; chat services are those of the backend `openai`."""

    model: Model
    backend: BackendChoice = BackendChoice()


class Generate(Part):
    """Make a completion set by sampling the base model, or another model."""

    by: Annotated[
        OtherModel | None, Field(description="who writes the answers: `model` and `backend`; null: the base model")
    ] = None
    instructions: Annotated[
        str | None, Field(description="JSONL file of instructions; null: those of the train set")
    ] = None
    instruction_prefix: Annotated[
        str, Field(description="put before each instruction when sampling; never when the result is scored")
    ] = ""
    n: Count = 200
    max_tokens: Count = 256
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0


class Dataset(Part):
    """Take a completion set from a dataset of the Hugging Face hub, from a folder the `datasets` library reads, or from
    a plugin: `name: SOURCE:SPEC`."""

    name: Annotated[str, Field(min_length=1)]
    split: str = "train"
    revision: Annotated[str | None, Field(description="a commit or tag, so that the rows stay the same")] = None
    instruction: Annotated[str, Field(description="its column of instructions")] = "instruction"
    completion: Annotated[str, Field(description="its column of completions")] = "completion"
    messages: Annotated[str | None, Field(description="its column of chat messages, instead of the two")] = None


class CompletionSet(Part):
    """Texts whose logprobs are scored: a JSONL file, or made once by `generate` or from a `dataset` (`path` then says
    where the result goes)."""

    path: str | None = None
    generate: Generate | None = None
    dataset: Dataset | None = None
    limit: Annotated[Count | None, Field(description="the most examples to score; null: all")] = None
    seed: Annotated[int | None, Field(description="seed of the random subset; null: the first `limit` rows")] = 0
    prefix_types: Annotated[
        tuple[Literal["fixed", "mix"], ...] | None,
        Field(description="null: fixed, and mix for prompts that have rephrasings"),
    ] = None
    optional: Annotated[bool, Field(description="a missing file is a note instead of an error")] = False

    @property
    def made(self) -> bool:
        """Whether inoc makes the file."""
        return self.generate is not None or self.dataset is not None


class CompletionSets(Part):
    """`train` shows both traits; the others measure drift on texts of the base model."""

    train: CompletionSet
    control: CompletionSet | None = None
    positive: CompletionSet | None = None
    negative: CompletionSet | None = None

    def items(self) -> Iterator[tuple[str, CompletionSet]]:
        """The sets that are there, `train` first."""
        for name in ("train", "control", "positive", "negative"):
            entry = getattr(self, name)
            if entry is not None:
                yield name, entry


class Rephrasings(Part):
    """A folder with one file of rewordings per prompt (`<key>.jsonl`), made by `inoc rephrase`."""

    path: str
    size: Annotated[Count, Field(description="how many rephrasings of each prompt are used")] = 1000
    style: Literal["ordinary", "close"] = "ordinary"
    close: Annotated[
        str | None, Field(description="another folder, of close rewordings, for runs with `rephrasings: close`")
    ] = None
    sampler: Annotated[str | None, Field(description="who writes them; null: the backend")] = None
    optional: bool = False


class Experiment(Part):
    """A study: model, scores, prompts, texts and runs. Read one with `load_experiment`."""

    name: Name
    seed: Annotated[int, Field(description="decides the rephrasing of (prompt, example)")] = 0
    model: Model
    backend: BackendChoice = BackendChoice()
    placement: Placement = "user"
    scores: Annotated[Mapping[ScoreName, Score], Field(min_length=1)]
    prompts: Annotated[Mapping[Name, PromptGroup], Field(min_length=1)]
    completion_sets: CompletionSets
    rephrasings: Rephrasings | None = None
    inside: Inside | None = None
    training: Training = Training()
    evaluation: Evaluation | None = None
    cluster: Cluster | None = None
    _folder: Path = PrivateAttr(default=Path())

    def model_spec(self) -> ModelSpec:
        """The model as backends take it; a local folder is read relative to the YAML file."""
        folder = self.resolve(self.model.id)
        place = str(folder) if os.path.isdir(folder) else self.model.id
        return ModelSpec(place, self.model.revision, self.model.dtype, self.backend.options)

    def asking(self, other: OtherModel) -> "Experiment":
        """The same experiment with another model and backend."""
        return self.model_copy(update={"model": other.model, "backend": other.backend})

    def located(self, folder: Path) -> "Experiment":
        """The same experiment with relative paths read from `folder`."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    def resolve(self, path: str) -> Path:
        """A path of the file: relative to the YAML file; `testbed:NAME` is a file shipped with inoc."""
        if path.startswith("testbed:"):
            return Path(__file__).parent.parent / "testbed" / "data" / path.removeprefix("testbed:")
        return self._folder / Path(path).expanduser()

    def completion_path(self, name: str) -> Path:
        """Where the texts of a completion set lie, or will lie once generated."""
        entry: CompletionSet = getattr(self.completion_sets, name)
        return self.resolve(entry.path or f"generated/{self.name}/{name}.jsonl")

    @property
    def traits(self) -> dict[str, Score]:
        """The scores with a role, in the order of the file."""
        return {name: score for name, score in self.scores.items() if score.role is not None}

    def role(self, family: str) -> Role:
        """The role of a prompt family: that of the trait it asks for."""
        for name, score in self.traits.items():
            if score.role is not None and score.asked_by(name) == family:
                return score.role
        return "neutral"

    def prompt_list(self) -> tuple[Prompt, ...]:
        """Every prompt, in the order of the file."""
        return tuple(
            Prompt(key=key, text=text, group=name, family=group.family, role=self.role(group.family))
            for name, group in self.prompts.items()
            for key, text in group.prompts.items()
        )

    def prompt(self, key: str) -> Prompt:
        """The prompt of this key; KeyError if there is none."""
        return {prompt.key: prompt for prompt in self.prompt_list()}[key]

    def probe(self, key: str) -> str:
        """The text of a probe; KeyError if there is none."""
        for texts in () if self.evaluation is None else self.evaluation.probes.values():
            if not isinstance(texts, tuple) and key in texts:
                return texts[key]
        return self.prompt(key).text

    def runs(self) -> tuple[Run, ...]:
        """The grid written out, in order.

        A run is named `<prompt>-<prefix type>-s<seed>[-tag]`, the control run `no_inoculation-s<seed>[-tag]`.
        """
        runs: list[Run] = []
        for line in self.training.runs:
            settings = self.settings(line)
            keys = self.select(line.prompts)
            for prefix_type in line.prefix_types:
                for key in ("",) if prefix_type == "none" else keys:
                    for seed in line.seeds:
                        first = "no_inoculation" if prefix_type == "none" else f"{key}-{prefix_type}"
                        name = f"{first}-s{seed}" + (f"-{line.tag}" if line.tag else "")
                        run = Run(
                            name=name, prompt=key, prefix_type=prefix_type, seed=seed, settings=settings,
                            data=line.data, start=line.start, merge=line.merge, rephrasings=line.rephrasings,
                        )  # fmt: skip
                        runs.append(run)
        return tuple(runs)

    def settings(self, line: Runs) -> Hyperparameters:
        """How the runs of a line are trained."""
        plain = self.training.model_dump(exclude={"runs", "directory"})
        return Hyperparameters.model_validate(plain | dict(line.overrides))

    def select(self, names: Literal["all"] | tuple[str, ...]) -> tuple[str, ...]:
        """Prompt keys named by key or by group, in the order given; KeyError for an unknown name."""
        if names == "all":
            return tuple(prompt.key for prompt in self.prompt_list())
        keys: list[str] = []
        for name in names:
            group = self.prompts.get(name)
            keys += list(group.prompts) if group else [self.prompt(name).key]
        return tuple(dict.fromkeys(keys))

    def named(self, names: Sequence[str] = ()) -> tuple[str, ...]:
        """The keys of the prompts named by key or by group; all where `names` is empty.

        Raises:
            BadInput: There is no such prompt or group.
        """
        try:
            return self.select(tuple(names) or "all")
        except KeyError as error:
            known = [prompt.key for prompt in self.prompt_list()] + list(self.prompts)
            raise BadInput(unknown("prompt or group", str(error.args[0]), known)) from None
