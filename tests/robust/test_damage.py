"""Damaged stores and work folders: every answer of the command line is the right one or an error, never another one."""

import shutil
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import pytest

import inoc.backends.manifest
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import Checkpoint, ModelSpec, TrainingJob, TrainingStep
from inoc.errors import InocError
from inoc.plan import Study
from inoc.store import opening

from ..local.jobs import losses, short_job
from ..store.damage import Damage, answers, damages, restore, snapshot
from ..study.conftest import write_study
from ..tally import count
from .attempt import attempt

RUN = "say_a-fixed-s0"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes these stores: what is wrong is tried again at once."""
    monkeypatch.setattr(opening.time, "sleep", lambda seconds: None)


def changed_silently(
    what: str, folders: Sequence[Path], damage: Sequence[Damage], right: object, answer: Callable[[], object]
) -> list[str]:
    """Damages after which the answer is another one though no error was raised; all folders are put back each time.
    Counted under `what`, unless that is empty."""
    whole = [snapshot(folder) for folder in folders]
    silent: list[str] = []
    for one in damage:
        one.do()
        wrong = ""
        try:
            if answer() != right:
                wrong = f"{one.kind} of {one.file}: another answer"
        except InocError:
            pass
        except Exception as error:
            wrong = f"{one.kind} of {one.file}: {error!r}"
        if what:
            count(f"damage of {what}", not wrong)
        silent += [wrong] if wrong else []
        for folder, files in zip(folders, whole, strict=True):
            restore(folder, files)
    return silent


# the store


def printed(store: Path, logs: Path) -> dict[str, bytes]:
    """What the commands about a store say; an error of one stands for itself."""
    page = logs / "report.html"
    found: dict[str, bytes] = {}
    for command in ("heuristics", "outcomes", "predict", "report"):
        line = [command, f"--store={store}", *([f"--output={page}"] if command == "report" else ["--json"])]
        done = attempt(line, logs)
        assert not done.log, done.log
        assert "Traceback" not in done.said
        assert done.code != 1, done.said
        assert done.code == 0 or done.said
        found[command] = (page.read_bytes() if command == "report" else done.out.encode()) if done.code == 0 else b""
    return found


class Prints:
    """Compares what is printed with what is right; a command that ends with an error says no wrong number."""

    def __init__(self, right: dict[str, bytes]) -> None:
        self.right = right

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, dict)
        return all(said in (b"", self.right[command]) for command, said in other.items())

    __hash__ = None  # type: ignore[assignment]


def store_damages(world: Path, tmp_path: Path, n: int, seed: int) -> list[str]:
    store, logs = Path(shutil.copytree(world / "good.zarr", tmp_path / "good.zarr")), tmp_path / "logs"
    logs.mkdir()
    right = printed(store, logs)
    assert all(right.values()), [command for command, said in right.items() if not said]
    drawn = list(islice(damages(store, tmp_path / "none", seed), n))
    return changed_silently("a store, what is printed", [store], drawn, Prints(right), lambda: printed(store, logs))


@pytest.mark.robust
@pytest.mark.timeout(1800)
def test_no_printed_number_changes_silently(world: Path, tmp_path: Path) -> None:
    assert store_damages(world, tmp_path, 150, seed=1) == []


# the work folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study file of a study with a trained run, whose answers are sampled and kept, not judged."""
    from inoc.plan import plan_evaluation
    from inoc.stages.sampling import sample
    from inoc.stages.train import train

    path = write_study(tmp_path_factory.mktemp("home"))
    study = opened(path)
    (record,) = train(study, [RUN])
    for cell in plan_evaluation(study, study.runs([RUN])[0], 3).cells:
        sample(study, [cell.texts], record.at(cell.step))
    return path


def opened(path: Path):
    from inoc.experiment import load_experiment

    experiment = load_experiment(path)
    return Study(experiment, LocalBackend.from_spec(experiment.model_spec()), path.with_name("run.zarr"))


def evaluated(path: Path) -> str:
    """What a study reads after `inoc evaluate` with this work folder."""
    from inoc.stages.evaluate import evaluate

    evaluate(opened(path), [RUN])
    return answers(path.with_name("run.zarr"))


def work_damages(path: Path, drawn: Callable[[Path], Sequence[Damage]], what: str = "a work folder") -> list[str]:
    store, work = path.with_name("run.zarr"), path.with_name("run.work")
    before = snapshot(store), snapshot(work)
    right = evaluated(path)
    for folder, files in zip((store, work), before, strict=True):
        restore(folder, files)
    return changed_silently(what, [store, work], drawn(work), right, lambda: evaluated(path))


@pytest.mark.robust
@pytest.mark.torch
@pytest.mark.timeout(1800)
def test_no_damaged_work_folder_changes_an_answer(trained: Path) -> None:
    assert work_damages(trained, lambda work: list(islice(damages(work, work / "none", 2), 160))) == []


@pytest.mark.robust
@pytest.mark.torch
def test_without_hashes_damaged_weights_go_unnoticed(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant verifies no folder; what was sampled is deleted, so that the weights are used."""
    monkeypatch.setattr(inoc.backends.manifest, "verify", lambda folder, content=None: None)

    def drawn(work: Path) -> list[Damage]:
        (weights,) = work.rglob("step-00003/*.safetensors")
        kept = [p for p in work.rglob("*.jsonl") if p.is_file()]

        def swap() -> None:
            shutil.copy(weights.parent.with_name("step-00002") / weights.name, weights)
            for file in kept:
                file.unlink()

        return [Damage("stale", str(weights.relative_to(work)), swap)]

    assert len(work_damages(trained, drawn, what="")) == 1


def interrupted(folder: Path, model: Path) -> tuple[LocalBackend, TrainingJob]:
    """A training that stopped after 6 updates: a checkpoint and a state to resume from."""
    backend = LocalBackend.from_spec(ModelSpec(str(model), options={"device": "cpu"}))
    job = short_job(folder / "t", id="t")
    for event in backend.train(job):
        if isinstance(event, TrainingStep) and event.step == 6:
            break
    return backend, job


@pytest.mark.robust
@pytest.mark.torch
@pytest.mark.timeout(1800)
def test_no_damaged_state_changes_a_training(trained: Path, tmp_path: Path) -> None:
    backend, job = interrupted(tmp_path, trained.parent / "model")
    folder = Path(job.directory)
    before = snapshot(folder)

    def outcome() -> object:
        events = list(backend.train(job))
        last = events[-1]
        assert isinstance(last, Checkpoint)
        (weights,) = Path(str(last.location)).glob("*.safetensors")
        return losses(events), weights.read_bytes()

    right = outcome()
    restore(folder, before)
    drawn = list(islice(damages(folder, folder / "none", 3), 80))
    assert changed_silently("a state to resume from", [folder], drawn, right, outcome) == []
