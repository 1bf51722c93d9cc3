"""Four doors of inoc in one module: two heuristics, a judge, a figure and an importer.

Its subject is shouting, answers in capitals. docs/plugins.md says what each door promises.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inoc.errors import BadInput, IncompleteStore
from inoc.figures import Source, figure
from inoc.heuristics import heuristic
from inoc.judge.protocols import JudgeRequest, Judgment
from inoc.store.imports import LogprobRow
from inoc.values import Scalar


@heuristic(
    family="shouting",
    level="example",
    long_name="median change of an example",
    formula="median_k w",
    units="nats per token",
)
def median_change(w: np.ndarray) -> np.ndarray:
    """As ph, and a few examples that change a lot do not move it."""
    return _of_known(np.nanmedian, w)


@heuristic(
    family="shouting",
    level="example",
    long_name="spread of the change over examples",
    formula="q75_k w - q25_k w",
    units="nats per token",
)
def spread_of_change(w: np.ndarray) -> np.ndarray:
    """How unevenly a prompt works on the examples."""
    return _of_known(lambda values, axis: np.subtract(*np.nanquantile(values, [0.75, 0.25], axis=axis)), w)


def _of_known(statistic, w: np.ndarray) -> np.ndarray:
    """A statistic over the examples of a cell; NaN where no example of it is known."""
    known = np.isfinite(w).any(-1)
    return np.where(known, statistic(np.where(known[..., None], w, 0.0), axis=-1), np.nan)


@dataclass(frozen=True)
class ShoutingJudge:
    """The share of a response's words that are written in capitals, 0-100; NaN for one without words."""

    least: int

    @property
    def identity(self) -> str:
        """Whatever changes scores: here the shortest word that counts."""
        return f"shouting:1:{self.least}"

    def judge(self, requests: Sequence[JudgeRequest]) -> Iterator[Judgment]:
        for request in requests:
            words = re.findall(rf"\w{{{self.least},}}", request.response)
            if words:
                yield Judgment(request.id, 100 * sum(word.isupper() for word in words) / len(words), 1.0)
            else:
                yield Judgment(request.id, math.nan, 0.0, "the response has no words")


def shouting_judge(trait: str, options: Mapping[str, Scalar]) -> ShoutingJudge:
    """`judge: {kind: plugin, name: shouting, options: {least: 2}}` in an experiment file."""
    least = options.get("least", 2)
    if set(options) - {"least"} or not isinstance(least, int) or least < 1:
        raise BadInput(f"judge of {trait}: shouting has one option, least, a number of letters. Fix: correct it.")
    return ShoutingJudge(least)


@figure("change_of_examples", "scatter", "Median change of the examples by prompt, and its spread.")
def draw(source: Source):
    """Prompts from the strongest to the weakest, their fixed prefix and their rephrasings in one row."""
    import matplotlib.pyplot as plt

    table = source.heuristics
    if "median_change" not in table:
        raise IncompleteStore("the store has no logprobs of examples. Fix: run `inoc score`.")
    median, spread = table["median_change"], table["spread_of_change"]
    order = median.mean("prefix_type").sortby(median.mean("prefix_type")).prompt
    shown, axes = plt.subplots(figsize=(5, 0.4 + 0.32 * order.size), layout="constrained")
    for shift, kind in zip((-0.14, 0.14), median.prefix_type.values, strict=False):
        values = median.sel(prefix_type=kind, prompt=order)
        half = spread.sel(prefix_type=kind, prompt=order) / 2
        axes.errorbar(values, np.arange(order.size) + shift, xerr=half, fmt="o", ms=4, lw=1.2, label=str(kind))
    axes.set_yticks(range(order.size), [str(key) for key in order.values])
    axes.axvline(0, color="0.6", lw=0.8)
    axes.set_xlabel("median change of an example (nats per token)\nbars: as long as the middle half is wide")
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return shown


@dataclass(frozen=True)
class TsvImporter:
    """Tables with the columns example, prompt (empty: none) and logprobs (numbers with spaces between them)."""

    completion_set: str = "train"

    def sniff(self, paths: Sequence[Path]) -> bool:
        """Whether each begins with the names of the columns."""
        starts: list[bytes] = []
        for path in paths:
            with path.open("rb") as file:
                starts.append(file.read(24))
        return all(start.startswith(b"example\tprompt\tlogprobs") for start in starts)

    def read(self, paths: Sequence[Path]) -> Iterator[LogprobRow]:
        """A row for each line; a wrong one is a sentence that says where it is."""
        for path in paths:
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise BadInput(f"{path} is not UTF-8 text. Fix: write it again.") from None
            if not text.endswith("\n"):  # "-3" of a file that is cut may have been "-3.25"
                raise BadInput(f"{path} ends in the middle of a line. Fix: write it again.")
            for number, line in enumerate(text.splitlines()[1:], start=2):
                where = f"{path}, line {number}"
                try:
                    example, prompt, values = line.split("\t")
                    logprobs = [float(value) for value in values.split()]
                except ValueError:
                    raise BadInput(f"{where}: needs an example, a prompt and numbers. Fix: write them.") from None
                kind = "fixed" if prompt else "none"
                yield LogprobRow(example, logprobs, prompt, kind, completion_set=self.completion_set, where=where)
