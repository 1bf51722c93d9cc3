"""What the formats of evaluation logs share: a file is one prompt and one run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class LogFiles:
    """Options of such a format.

    Attributes:
        prompt: Key of the inoculation prompt; "": the name of each file (of its folder where that is a time stamp; of
            the folder of results, `--output_path`, of lm-evaluation-harness).
        baseline: The name of the file without a prompt.
        prefix_type: How a prompt was used: "fixed" or "mix".
        take: "scores" of answers, as runs, or "logprobs" of completions that are the same in every file.
        completion_set: What the logprobs are of.
        step: Update of the checkpoint that was evaluated.
        condition: "default", "training" or the name of a probe.
    """

    prompt: str = ""
    baseline: str = "baseline"
    prefix_type: Literal["fixed", "mix"] = "fixed"
    take: Literal["scores", "logprobs"] = "scores"
    completion_set: str = "train"
    step: int = 0
    condition: str = "default"

    def run(self, path: Path) -> tuple[str, str, str]:
        """Name of the run, key of its prompt, prefix type."""
        folder = path.parent.parent if "__" in path.parent.name else path.parent  # the harness names one by the model
        name = self.prompt or (folder.name if path.name.startswith("samples_") else path.stem)
        return (name, "", "none") if name == self.baseline else (name, name, self.prefix_type)
