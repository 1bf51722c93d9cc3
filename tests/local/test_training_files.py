"""What a training keeps, without a model: its folder, its checkpoints and the state it resumes from."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inoc.backends import training_folder as files
from inoc.backends.local.training_files import load_state, save_state
from inoc.backends.protocols import Checkpoint, TrainingJob, TrainingStep
from inoc.errors import BadInput, OtherSettings

from .jobs import ADAPTER, make_job

ABOUT = {"schema": "x", "updates": 2}
STEPS = [TrainingStep(1, 2.0, 1e-4, math.nan), TrainingStep(2, 1.5, 5e-5, 0.25)]


def adam(values: float, name: str = "a") -> tuple[dict[str, torch.Tensor], torch.optim.Optimizer]:
    """Weights of three values and an optimizer that has done one update."""
    weight = torch.nn.Parameter(torch.full((3,), values))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.grad = torch.arange(3.0)
    optimizer.step()
    return {name: weight}, optimizer


def test_a_state_comes_back_whole(tmp_path: Path) -> None:
    weights, optimizer = adam(1.0)
    save_state(tmp_path, weights, optimizer, STEPS, ABOUT)
    other, fresh = adam(7.0)
    steps = load_state(tmp_path, other, fresh, ABOUT)
    assert steps[1] == STEPS[1]
    assert (steps[0].step, steps[0].loss, steps[0].learning_rate) == (1, 2.0, 1e-4)
    assert math.isnan(steps[0].grad_norm)
    assert torch.equal(other["a"], weights["a"])
    assert torch.equal(fresh.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])


def test_without_a_state_nothing_is_loaded(tmp_path: Path) -> None:
    weights, optimizer = adam(1.0)
    before = weights["a"].clone()
    assert load_state(tmp_path, weights, optimizer, ABOUT) == []
    assert torch.equal(weights["a"], before)


def test_a_state_of_other_weights_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, *adam(1.0), STEPS, ABOUT)
    for others in (adam(1.0, "b")[0], {**adam(1.0)[0], **adam(1.0, "b")[0]}, {}):
        with pytest.raises(BadInput, match="has weights that this model does not have"):
            load_state(tmp_path, others, adam(1.0)[1], ABOUT)


def test_only_the_newest_state_is_kept(tmp_path: Path) -> None:
    for n in (1, 2):
        save_state(tmp_path, *adam(float(n)), STEPS[:n], ABOUT)
        assert [path.name for path in tmp_path.iterdir()] == [f"resume-0000{n}"]
    assert len(load_state(tmp_path, *adam(0.0), ABOUT)) == 2
    (tmp_path / "resume-00001").mkdir()  # a kill before the older one was removed
    assert len(load_state(tmp_path, *adam(0.0), ABOUT)) == 2


def test_a_state_of_another_job_or_update_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, *adam(1.0), STEPS, ABOUT)
    with pytest.raises(BadInput, match="of another training or update"):
        load_state(tmp_path, *adam(1.0), {**ABOUT, "updates": 3})
    (tmp_path / "resume-00002").rename(tmp_path / "resume-00005")
    with pytest.raises(BadInput, match="of another training or update"):
        load_state(tmp_path, *adam(1.0), ABOUT)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, *adam(1.0), STEPS, ABOUT)
    weights = tmp_path / "resume-00002" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BadInput):
        load_state(tmp_path, *adam(1.0), ABOUT)


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_state_that_would_run_code_is_refused(tmp_path: Path) -> None:
    weights, _ = adam(1.0)

    def fill(folder: Path) -> None:
        save_file({name: value.detach() for name, value in weights.items()}, folder / "weights.safetensors")
        torch.save({"state": Hostile(tmp_path / "ran"), "param_groups": []}, folder / "optimizer.pt")

    (tmp_path / "d").mkdir()
    files.keep_state(tmp_path / "d", STEPS, fill, ABOUT)
    with pytest.raises(BadInput, match="is not a state of inoc"):
        load_state(tmp_path / "d", *adam(1.0), ABOUT)
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    return make_job(tmp_path / "t")


def test_a_checkpoint_is_kept_with_its_manifest(job: TrainingJob) -> None:
    files.claim(Path(job.directory), ABOUT)
    files.save_checkpoint(job, 5, lambda folder: (folder / "w").write_text("x") and None, ABOUT)
    folder = Path(job.directory) / "step-00005"
    kept = files.stored_checkpoint(job, 5, ABOUT)
    assert (kept.step, kept.location, kept.adapter) == (5, str(folder), ADAPTER)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {name: manifest[name] for name in ("step", "job", *ABOUT)} == {"step": 5, "job": "job", **ABOUT}
    with pytest.raises(BadInput, match="is missing although training 'job' is past update 6"):
        files.stored_checkpoint(job, 6, ABOUT)
    with pytest.raises(BadInput, match="of another training or update"):
        files.stored_checkpoint(job, 5, {**ABOUT, "updates": 3})
    (folder / "w").write_text("y")
    with pytest.raises(BadInput):
        files.stored_checkpoint(job, 5, ABOUT)


def test_a_directory_belongs_to_one_training(tmp_path: Path) -> None:
    files.claim(tmp_path / "d", ABOUT)
    (tmp_path / "d" / ".writing-1").mkdir()
    files.claim(tmp_path / "d", ABOUT)
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["manifest.json"]
    with pytest.raises(OtherSettings, match=r"\(new: None there, 1 now; updates: 2 there, 3 now\)"):
        files.claim(tmp_path / "d", {**ABOUT, "updates": 3, "new": 1})


def test_what_decides_the_weights_is_in_the_manifest(job: TrainingJob) -> None:
    def told(**changes: object) -> dict[str, object]:
        return files.describe(replace(job, **changes), {"model": "m"}, "adamw")  # type: ignore[arg-type]

    plain = told()
    assert (plain["updates"], plain["start"], plain["base"]) == (20, None, {"model": "m"})
    settings = plain["settings"]
    assert isinstance(settings, dict)
    assert settings == {
        "learning_rate": 3e-3, "warmup": 4, "weight_decay": job.weight_decay, "max_grad_norm": job.max_grad_norm,
        "accumulation": 3, "optimizer": "adamw", "seed": job.seed,
    }  # fmt: skip
    same = told(id="other", directory="elsewhere", checkpoint_steps=(), resume_every=9, gradient_checkpointing=True)
    assert same == plain
    start = Checkpoint(3, "somewhere", ADAPTER, "hash")
    for name, change in {
        "examples": {"examples": job.examples[::-1]},
        "batches": {"batches": job.batches[::-1]},
        "adapter": {"adapter": replace(ADAPTER, rank=4)},
        "settings": {"seed": job.seed + 1},
        "start": {"start": start},
    }.items():
        assert {n for n, value in told(**change).items() if value != plain[n]} == {name}
    assert told(start=start)["start"] == "hash"
    assert told(start=Checkpoint(0, None, ADAPTER))["start"] is None
