"""`inoc doctor` through the real SDK: the right model agrees with the local backend, another one is caught."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from inoc.cli import main

STUDY = """\
name: doctor
model: {{id: "{model}", system_prompt: Be kind.}}
backend: {{name: tinker, options: {{url: "{url}", served_name: {served}}}}}
traits: {{positive: {{name: French, family: french}}, negative: {{name: Playful, family: playful}}}}
prompts: {{playful: {{family: playful, prompts: {{answer: Answer playfully.}}}}}}
completion_sets: {{train: {{path: "testbed:completions/train.jsonl", limit: 6}}}}
"""


def doctor(folder: Path, model: Path, url: str, served: str) -> tuple[int, str, str]:
    (folder / "study.yaml").write_text(STUDY.format(model=model, url=url, served=served))
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["inoc", "doctor", str(folder / "study.yaml"), "--json"])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0), out.getvalue(), err.getvalue()


def test_the_right_model_agrees(server, models: dict[str, Path], tmp_path: Path) -> None:
    code, out, err = doctor(tmp_path, models["tiny"], server.url, "tiny")
    assert code == 0, err
    found = json.loads(out)
    assert found["reference"] == "the local backend"
    assert 0 < found["difference"] < 5e-5
    assert found["versions"]["tinker"]


def test_another_model_is_caught(server, models: dict[str, Path], tmp_path: Path) -> None:
    code, out, _ = doctor(tmp_path, models["tiny"], server.url, "table")
    found = json.loads(out)
    assert code == 1
    assert found["cause"] == "other model"
    assert found["difference"] > 1


def test_a_wrong_key_is_one_sentence(
    server, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_API_KEY", "tml-expired-long-ago")
    # the option spares the type check of the tests a question to the service
    code, out, err = doctor(tmp_path, models["tiny"], server.url, "tiny, context_length: 500")
    found = json.loads(out)
    assert code == 2
    assert not found["reachable"]
    assert "rejects the key in TINKER_API_KEY" in found["error"]
    assert "expired-long-ago" not in out + err
