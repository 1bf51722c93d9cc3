"""The experiment file: what is studied, with which model, on which texts."""

from inoc.experiment.check import check_experiment, load_experiment
from inoc.experiment.data import (
    Example,
    read_completions,
    read_instructions,
    read_pool,
    read_pools,
    read_questions,
    read_turns,
    subset,
)
from inoc.experiment.inside import Inside
from inoc.experiment.judges import (
    ChatJudge,
    Judge,
    LanguageJudge,
    LexicalJudge,
    LogprobJudge,
    MisalignmentJudge,
    PluginJudge,
)
from inoc.experiment.mixtures import MixedRow, mixture
from inoc.experiment.models import (
    BackendChoice,
    CompletionSet,
    CompletionSets,
    Dataset,
    Experiment,
    Generate,
    Model,
    Prompt,
    PromptGroup,
    Rephrasings,
)
from inoc.experiment.prefills import Prefills
from inoc.experiment.scores import Score
from inoc.experiment.training import Evaluation, Hyperparameters, Questions, Rows, Run, Runs, Training
from inoc.experiment.yaml_file import Problem

__all__ = [
    "BackendChoice",
    "ChatJudge",
    "CompletionSet",
    "CompletionSets",
    "Dataset",
    "Evaluation",
    "Example",
    "Experiment",
    "Generate",
    "Hyperparameters",
    "Inside",
    "Judge",
    "LanguageJudge",
    "LexicalJudge",
    "LogprobJudge",
    "MisalignmentJudge",
    "MixedRow",
    "Model",
    "PluginJudge",
    "Prefills",
    "Problem",
    "Prompt",
    "PromptGroup",
    "Questions",
    "Rephrasings",
    "Rows",
    "Run",
    "Runs",
    "Score",
    "Training",
    "check_experiment",
    "load_experiment",
    "mixture",
    "read_completions",
    "read_instructions",
    "read_pool",
    "read_pools",
    "read_questions",
    "read_turns",
    "subset",
]
