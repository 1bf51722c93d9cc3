"""Importer of lm-evaluation-harness: the JSONL of `--log_samples`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inoc.errors import BackendUnavailable, BadInput
from inoc.store.imports.log_files import LogFiles
from inoc.store.imports.reading import Node, head, load_jsonl
from inoc.store.imports.rows import LogprobRow, ScoreRow

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NAMED = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash",
          "prompt_hash", "target_hash"}  # fmt: skip


@dataclass(frozen=True)
class LmEval(LogFiles):
    """Metrics from 0 to 1 become scores, sums of logprobs means over tokens.

    Attributes:
        metric: The one metric that is taken; "": all.
        filter: The filter whose results are taken; "": the first of each file.
        tokenizer: The model's `tokenizer.json`; logprobs need it, because the log has sums and no tokens.
    """

    metric: str = ""
    filter: str = ""
    tokenizer: str = ""

    def sniff(self, paths: Sequence[Path]) -> bool:
        """Whether the files have its fields."""
        return all('"doc_id"' in (text := head(path)) and '"arguments"' in text for path in paths)

    def read(self, paths: Sequence[Path]) -> Iterator[LogprobRow | ScoreRow | str]:
        """Rows of all files; a sentence for each metric and filter that is left out."""
        tokenizer = self._tokenizer() if self.take == "logprobs" else None
        for path in paths:
            chosen = self.filter
            for row in load_jsonl(path):
                name = row.get("filter", "none").text()
                chosen = chosen or name
                if name != chosen:
                    yield f"{path.name}: filter {name}"
                elif tokenizer is not None:
                    yield from self._logprobs(row, path, tokenizer)
                else:
                    yield from self._scores(row, path)

    def _scores(self, row: Node, path: Path) -> Iterator[ScoreRow | str]:
        run, prompt, kind = self.run(path)
        listed = [node.text() for node in row["metrics"].rows()] if "metrics" in row else row.fields
        for metric in listed:
            value = row.get(metric).value
            if metric in _NAMED or metric != (self.metric or metric) or isinstance(value, str | list | dict):
                continue
            if value is not None and not 0 <= float(value) <= 1:  # pyright: ignore[reportArgumentType]
                yield f"{path.name}: {metric}, which is not between 0 and 1"
                continue
            score = float("nan") if value is None else 100.0 * float(value)  # pyright: ignore[reportArgumentType]
            yield ScoreRow(run, str(row["doc_id"].value), metric, score, prompt, kind, self.step, self.condition,
                           "lm-evaluation-harness", where=row.where)  # fmt: skip

    def _logprobs(self, row: Node, path: Path, tokenizer: "Tokenizer") -> Iterator[LogprobRow]:
        _, prompt, kind = self.run(path)
        asked, answers = row["arguments"], row["filtered_resps"].rows()
        pairs = [list(node.fields.values()) for _, node in asked.items()] if isinstance(asked.value, dict) else [
            [part.value for part in node.rows()] for node in asked.rows()
        ]  # fmt: skip
        for place, (pair, answer) in enumerate(zip(pairs, answers, strict=False)):
            if len(pair) != 2 or not all(isinstance(text, str) for text in pair) or not isinstance(answer.value, list):
                raise BadInput(f"{row.where}: not a loglikelihood request. Fix: take its scores: --option take=scores.")
            context, completion = map(str, pair)
            bare = context.rstrip()
            whole = len(tokenizer.encode(context + completion).ids)
            n = max(1, whole - len(tokenizer.encode(bare).ids))  # as the harness: spaces belong to the completion
            try:
                total = float(str(answer.rows()[0].value))
            except (ValueError, IndexError):
                raise BadInput(f"{answer.where} is not a logprob. Fix: log the samples again.") from None
            yield LogprobRow(f"{row['doc_id'].value}.{place}", [total / n], prompt, kind, mean=True,
                             completion_set=self.completion_set, completion=completion, where=row.where)  # fmt: skip

    def _tokenizer(self) -> "Tokenizer":
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise BackendUnavailable("counting tokens needs tokenizers. Fix: pip install tokenizers.") from None
        if not self.tokenizer or not Path(self.tokenizer).is_file():
            raise BadInput(
                "the log has sums of logprobs and no tokens. Fix: name the model's own with "
                "--option tokenizer=PATH/tokenizer.json."
            )
        return Tokenizer.from_file(self.tokenizer)
