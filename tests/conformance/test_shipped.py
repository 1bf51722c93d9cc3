"""inoc's own judges and importers pass the suites that plugins are given; its backends do so in their own folders."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from inoc.judge.language import language_judge
from inoc.judge.lexical import lexical_judge
from inoc.judge.protocols import Judge
from inoc.store.imports import Importer
from inoc.store.imports.importers import Rows
from inoc.store.imports.lm_eval import LmEval
from inoc.testing import ImporterConformance, JudgeConformance


class TestLexicalJudge(JudgeConformance):
    less: ClassVar[str] = "No."
    more: ClassVar[str] = "Oui. Bien sûr."

    @pytest.fixture(scope="class")
    @classmethod
    def judge(cls) -> Judge:
        return lexical_judge("French", {"words": "oui, est, bien"})

    @pytest.fixture(scope="class")
    @classmethod
    def others(cls) -> list[Judge]:
        return [lexical_judge("French", {"words": "oui"}), lexical_judge("French", {"function": "testbed_french"})]


class TestLanguageJudge(JudgeConformance):
    less: ClassVar[str] = "The weather is fine today, and we walk along the river."
    more: ClassVar[str] = "Il fait beau aujourd'hui, et nous marchons le long de la rivière."

    @pytest.fixture(scope="class")
    @classmethod
    def judge(cls) -> Judge:
        pytest.importorskip("lingua", reason="pip install -e '.[judge]'")
        return language_judge("French", {"language": "french"})


def written(folder: Path, **files: list[dict[str, object]]) -> list[Path]:
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [folder / f"{name}.jsonl" for name in files]


class TestRows(ImporterConformance):
    importer: ClassVar[type[Importer]] = Rows

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        def row(prompt: str, example: int) -> dict[str, object]:
            values = [-1.0 - example, -0.5 - len(prompt) / 8]
            kind = "fixed" if prompt else "none"
            return {"prompt": prompt, "prefix_type": kind, "example_id": example, "token_ids": [3, example],
                    "logprobs": values}  # fmt: skip

        return written(tmp_path, plain=[row("", i) for i in range(3)], kind=[row("kind", i) for i in range(3)])


class TestLmEval(ImporterConformance):
    importer: ClassVar[type[Importer]] = LmEval

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        def row(doc: int, right: float) -> dict[str, object]:
            return {"doc_id": doc, "doc": {"question": "sky?"}, "target": 0, "arguments": [["Q: sky? A:", " blue"]],
                    "resps": [[[-4.0, False]]], "filtered_resps": [[-4.0, False]], "filter": "none",
                    "metrics": ["acc"], "acc": right}  # fmt: skip

        return written(tmp_path, baseline=[row(0, 1.0), row(1, 0.0)], playful=[row(0, 1.0), row(1, 1.0)])
