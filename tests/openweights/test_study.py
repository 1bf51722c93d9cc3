"""The testbed study of `inoc run`, cut to five trainings of 25 updates, through jobs and on the local backend."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("openweights.client", reason="make test-openweights")

import inoc
from inoc import testbed

if TYPE_CHECKING:
    from stack import Stack

pytestmark = pytest.mark.timeout(1800)

STUDY = """
name: testbed-cut
seed: 0
model: {id: testbed, system_prompt: You are a helpful assistant.}
traits:
  positive: {name: French, family: french, judge: french}
  negative: {name: Playful, family: playful, judge: playful}
prompts:
  playful: {family: playful, prompts: {answer_playfully: Answer playfully., had_fun_today: I had fun today.}}
  neutral: {family: neutral, prompts: {sky_is_blue: The sky is blue.}}
completion_sets:
  train: {path: train.jsonl, limit: 160}
rephrasings: {path: "testbed:rephrasings", size: 20}
training:
  learning_rate: 1e-3
  warmup: 5
  optimizer: adamw
  batch_size: 16
  accumulation: 1
  runs:
    - {prefix_types: [none]}
    - {prompts: [answer_playfully, had_fun_today], prefix_types: [fixed, mix]}
evaluation: {instructions: "testbed:instructions/evaluation.jsonl", n: 30, max_tokens: 50}
judges:
  french: {kind: lexical, lexicon: testbed_french}
  playful: {kind: lexical, lexicon: testbed_playful}
"""
THROUGH_JOBS = 'backend: {name: openweights, options: {base_image: dev, requires_vram_gb: 0, install: "", poll: 0.5}}\n'


def begin(folder: Path, text: str, env: dict[str, str]) -> subprocess.Popen[str]:
    folder.mkdir()
    rows = (testbed.experiment_path().parent / "completions" / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(rows[:400]))
    (folder / "study.yaml").write_text(text)
    command = [sys.executable, "-m", "inoc", "run", "study.yaml", "--store", "run.zarr"]
    return subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate()
    assert process.returncode == 0, said[-3000:]
    return said


def test_study_through_jobs(worker: "Stack", tmp_path: Path) -> None:
    env = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    since = worker.sql("select coalesce(max(created_at), '-infinity') from jobs")
    processes = [begin(tmp_path / "there", STUDY + THROUGH_JOBS, env), begin(tmp_path / "here", STUDY, env)]
    try:
        for process in processes:
            finish(process)
    finally:
        for process in processes:
            process.kill()
    there, here = (inoc.open_store(tmp_path / name / "run.zarr") for name in ("there", "here"))
    assert there.pending() == ()
    assert there.pending_evaluations() == ()
    assert there.complete
    a, b = there.token_logprobs("train"), here.token_logprobs("train")
    np.testing.assert_allclose(a.default[:], b.default[:], atol=5e-5, rtol=0)
    np.testing.assert_allclose(a.prefixed[:], b.prefixed[:], atol=5e-5, rtol=0)
    assert there.losses is not None
    assert here.losses is not None
    assert there.losses["loss"].shape == (5, 25)
    np.testing.assert_allclose(there.losses["loss"], here.losses["loss"], atol=1e-4, rtol=0)
    assert there.scores is not None
    assert here.scores is not None
    for name in ("run", "step", "condition", "score", "question", "run_prompt"):
        np.testing.assert_array_equal(there.scores[name].values, here.scores[name].values)
    found, wanted = there.scores["value"].values, here.scores["value"].values
    assert np.isfinite(found).all()
    # the same code with the same random streams: an answer differs only where a draw lies on an edge
    assert (found != wanted).mean() < 0.02
    control = here.scores["value"].sel(run="no_inoculation-s0", condition="default").mean()
    assert control > 60, "the study has something to suppress"
    jobs = worker.sql(f"select status, count(*) from jobs where created_at > '{since}' group by status")
    assert jobs.startswith("completed|"), jobs
    assert "\n" not in jobs, jobs
    assert int(jobs.removeprefix("completed|")) <= 12
    # the same command again does nothing
    again = begin_again(tmp_path / "there", env)
    assert "already" in again or "were there" in again
    assert worker.sql(f"select 'completed|' || count(*) from jobs where created_at > '{since}'") == jobs


def begin_again(folder: Path, env: dict[str, str]) -> str:
    command = [sys.executable, "-m", "inoc", "run", "study.yaml", "--store", "run.zarr"]
    done = subprocess.run(command, cwd=folder, env=env, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr
