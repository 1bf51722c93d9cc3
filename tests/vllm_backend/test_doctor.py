"""`inoc doctor` with vLLM's engine: it agrees with the local backend, and its log stays out of the results."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

STUDY = """\
name: doctor
model: {{id: "{model}", system_prompt: Be kind.}}
backend: {{name: vllm, options: {{gpu_memory_utilization: 0.1, enforce_eager: true, block_size: 32}}}}
traits: {{positive: {{name: French, family: french}}, negative: {{name: Playful, family: playful}}}}
prompts: {{playful: {{family: playful, prompts: {{answer: Answer playfully.}}}}}}
completion_sets: {{train: {{path: "testbed:completions/train.jsonl", limit: 6}}}}
"""


def test_doctor_through_vllm(tiny: Path, tmp_path: Path) -> None:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: make test-vllm")
    (tmp_path / "study.yaml").write_text(STUDY.format(model=tiny))
    command = [sys.executable, "-m", "inoc", "doctor", "study.yaml", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["ok"]
    assert found["reference"] == "the local backend"
    assert found["difference"] < 5e-5
    assert found["engine"].startswith("vllm 0.")
