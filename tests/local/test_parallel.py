"""Data-parallel training on the CPU (gloo): equal to one process, resumable, and clear about a process that died."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inoc.backends.protocols import AdapterSettings, Checkpoint, TrainingStep
from inoc.errors import BackendUnavailable, BadInput, BadResult, InocError, OtherSettings

from ..tally import count
from .jobs import losses, make_job, short_job


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def members(of: int) -> list[int]:
    """Processes that a process has started for training."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in table.stdout.splitlines()]
    return [int(pid) for pid, parent, args in rows if int(parent) == of and "inoc.backends.local.member" in args]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def weights(checkpoint: object) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    assert isinstance(checkpoint, Checkpoint)
    assert checkpoint.location is not None
    (file,) = Path(checkpoint.location).glob("*.safetensors")
    return load_file(file)


def same_training(one: list, two: list) -> None:
    """Same events; losses and gradient norms to 1e-5, trained weights close."""
    assert [(type(e).__name__, e.step) for e in one] == [(type(e).__name__, e.step) for e in two]
    np.testing.assert_allclose(losses(two), losses(one), atol=1e-5, rtol=0)
    norms = [[e.grad_norm for e in events if isinstance(e, TrainingStep)] for events in (one, two)]
    np.testing.assert_allclose(norms[1], norms[0], rtol=1e-4)
    mine, theirs = weights(one[-1]), weights(two[-1])
    assert mine.keys() == theirs.keys()
    # Adam divides by gradients that may be nearly zero: a few weights differ by a part of one step (3e-3)
    for key, value in mine.items():
        np.testing.assert_allclose(theirs[key], value, atol=2e-4, err_msg=key)


@pytest.mark.slow  # starts two processes that import torch
def test_two_processes_train_what_one_does(local, models: dict[str, Path], tmp_path: Path) -> None:
    """20 updates; batches of 8 in micro-batches of 3, so that the two processes have unequal shares."""
    one = list(local(models["qwen2"]).train(make_job(tmp_path / "one")))
    two = list(local(models["qwen2"], processes=2).train(make_job(tmp_path / "two")))
    same_training(one, two)
    assert len(losses(one)) == 20
    names = [sorted(str(p.relative_to(tmp_path / n)) for p in (tmp_path / n).rglob("*")) for n in ("one", "two")]
    assert names[0] == names[1], "only one process writes"
    assert not members(os.getpid())


def test_settings_that_cannot_be(local, models: dict[str, Path], tmp_path: Path, monkeypatch) -> None:
    import torch

    with pytest.raises(BadInput, match=r"'processes' .* is 0: Input should be greater"):
        local(models["qwen2"], processes=0)
    with pytest.raises(BadInput, match="both processes and device_map"):
        local(models["qwen2"], processes=2, device_map="auto")
    from inoc.backends.local.parallel import check_devices

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BackendUnavailable, match=r"processes is 2, but this machine has 1 CUDA device"):
        check_devices("cuda", 2)
    check_devices("cuda", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "changes"),
    [
        (3, {"accumulation": 1}),
        (2, {"accumulation": 8, "gradient_checkpointing": True}),
        (2, {"adapter": AdapterSettings(kind="full"), "learning_rate": 1e-3}),
    ],
    ids=["three", "accumulation", "full"],
)
def test_however_it_is_split(local, models: dict[str, Path], tmp_path: Path, n: int, changes: dict) -> None:
    one = list(local(models["llama"]).train(short_job(tmp_path / "one", **changes)))
    many = list(local(models["llama"], processes=n).train(short_job(tmp_path / "many", **changes)))
    same_training(one, many)


@pytest.mark.slow
def test_a_process_that_dies_is_named_and_the_same_call_goes_on(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend, job = local(models["qwen2"], processes=2), make_job(tmp_path / "t")
    one = list(local(models["qwen2"]).train(make_job(tmp_path / "one")))
    events = backend.train(job)
    seen = [next(events) for _ in range(11)]  # past the checkpoint of update 5 and the state of update 8
    first, second = sorted(members(os.getpid()))
    os.kill(second, signal.SIGKILL)
    with pytest.raises(InocError) as caught:
        seen += list(events)
    assert type(caught.value) is InocError
    assert str(caught.value) == (
        "training 'job': process 2 of 2 was ended by signal 9 (often: out of memory). "
        "Fix: run the same command again; it resumes from the last saved state."
    )
    assert not alive(first)
    same_training(one, list(backend.train(job)))
    # and a single process reads what the two left
    again = list(local(models["qwen2"]).train(job))
    np.testing.assert_allclose(losses(again), losses(one), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_errors_of_the_processes_keep_their_class(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend = local(models["qwen2"], processes=2)
    with pytest.raises(BadResult, match=r"the loss of update .* Fix: lower the learning rate"):
        list(backend.train(short_job(tmp_path / "a", learning_rate=1e30)))
    list(local(models["qwen2"]).train(short_job(tmp_path / "b")))
    with pytest.raises(OtherSettings, match="belongs to another training"):
        list(backend.train(short_job(tmp_path / "b", seed=4)))


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from local.jobs import make_job
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import ModelSpec, TrainingStep
backend = LocalBackend.from_spec(ModelSpec({model!r}, options={{"device": "cpu", "processes": 2}}))
for event in backend.train(make_job(Path({directory!r}))):
    if isinstance(event, TrainingStep):
        print(event.step, flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_whole_it_leaves_no_process_and_goes_on(local, models: dict[str, Path], tmp_path: Path) -> None:
    """At any update of the first half, and again at any of the second: nothing is left running, and it goes on."""
    one = list(local(models["qwen2"]).train(make_job(tmp_path / "one")))
    for first, second in ((1, 12), (4, 13), (5, 16), (8, 19), (10, 18)):
        folder = tmp_path / f"killed-{first}"
        for update in (first, second):
            killed(models["qwen2"], folder, update)
        same_training(one, list(local(models["qwen2"], processes=2).train(replace(make_job(folder)))))
        count("kill: train with two processes", True, 2)


def killed(model: Path, folder: Path, update: int) -> None:
    """Train in a process of its own with two of its own, kill it at an update, and see that all three are gone."""
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), model=str(model), directory=str(folder))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == str(update):
                break
        both = members(process.pid)
        assert len(both) == 2
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while any(map(alive, both)):
        assert time.monotonic() < end, "a process outlived the one that started it"
        time.sleep(0.05)
    saved = [int(path.name.removeprefix("resume-")) for path in folder.glob("resume-*")]
    assert max(saved, default=0) >= update - 4, "at most resume_every updates are computed again"
