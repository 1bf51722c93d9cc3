"""Answers that are kept on disk until they are stored."""

from pathlib import Path

import pytest

from inoc.errors import BadInput
from inoc.stages.work import keep_rows, kept_rows

ROWS = [{"logprobs": [0.0, -1.25]}, {"logprobs": [-0.5, 1e-300]}]


def test_kept_rows_answer_their_own_question_only(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    assert kept_rows(file, "asked", 2) is None
    keep_rows(file, "asked", ROWS)
    assert kept_rows(file, "asked", 2) == tuple(ROWS)
    assert kept_rows(file, "asked differently", 2) is None
    assert kept_rows(file, "asked", 3) is None


@pytest.mark.parametrize(("old", "new"), [("-1.25", "-1.35"), ('{"logprobs": [-0.5', '{"logprobs": [-0.6')])
def test_kept_rows_that_changed_are_refused(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "rows.jsonl"
    keep_rows(file, "asked", ROWS)
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(BadInput, match="differs from its own hash"):
        kept_rows(file, "asked", 2)
