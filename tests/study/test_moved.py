"""A study that was moved or copied uses the weights that came with it; damaged or missing ones end in a sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import inoc
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import AdapterSettings, Checkpoint
from inoc.errors import BadInput
from inoc.experiment import load_experiment
from inoc.plan import Study, plan_evaluation
from inoc.stages.evaluate import evaluate
from inoc.stages.sampling import kept_answers, sample
from inoc.stages.train import train
from inoc.stages.trained import read_record

RUN = "say_a-fixed-s0"


def open_study(path: Path) -> Study:
    experiment = load_experiment(path)
    return Study(experiment, LocalBackend.from_spec(experiment.model_spec()), path.with_name("run.zarr"))


@pytest.fixture
def trained(study_file: Path) -> Path:
    """The study file of a study whose runs are trained, not evaluated, in a folder of its own."""
    home = study_file.parent / "home"
    home.mkdir()
    for path in [path for path in study_file.parent.iterdir() if path != home]:
        shutil.move(str(path), home)
    train(open_study(home / "study.yaml"), [RUN])
    return home / "study.yaml"


def scores(path: Path) -> np.ndarray:
    evaluate(open_study(path), [RUN])
    return inoc.open_store(path.with_name("run.zarr")).read(f"runs/{RUN}/score")


def checkpoint(path: Path, step: int = 3) -> Path:
    return path.with_name("run.work") / "training" / RUN / f"step-{step:05d}"


def test_a_moved_study_goes_on_where_it_is(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained.parent, copy)
    expected = scores(trained)
    shutil.rmtree(trained.parent)
    moved = tmp_path / "moved" / "study.yaml"
    copy.rename(moved.parent)
    np.testing.assert_array_equal(scores(moved), expected)
    (record,) = train(open_study(moved), [RUN])
    assert record.checkpoints
    assert all(Path(str(c.location)).is_relative_to(moved.parent) for c in record.checkpoints)


def test_a_copy_never_uses_the_weights_of_the_original(trained: Path, tmp_path: Path) -> None:
    """The original is there and whole: a copy without its own weights, or with damaged ones, fails."""
    for name, damage in (("missing", shutil.rmtree), ("zeroed", zero), ("swapped", swap)):
        copy = tmp_path / name / "study.yaml"
        shutil.copytree(trained.parent, copy.parent)
        damage(checkpoint(copy))
        with pytest.raises(BadInput, match="Fix: "):
            evaluate(open_study(copy), [RUN])
        run = inoc.open_store(copy.with_name("run.zarr"))
        assert (RUN, 3, "default") in run.pending_evaluations()
    assert np.isfinite(scores(trained)).all()


def zero(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-400] + bytes(400))


def swap(folder: Path) -> None:
    """The checkpoint of an earlier update in the place of the last."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("step-00002"), folder)


def test_a_moved_study_recognizes_a_continued_run(trained: Path, tmp_path: Path) -> None:
    """What a run continues from is known by its content, not by its path."""
    more = f"    - {{prefix_types: [none], tag: more, start: {RUN}}}\n"
    trained.write_text(trained.read_text().replace("evaluation:", more + "evaluation:"))
    train(open_study(trained), ["no_inoculation-s0-more"])
    moved = trained.parent.rename(tmp_path / "moved") / "study.yaml"
    train(open_study(moved), ["no_inoculation-s0-more"])


@pytest.mark.parametrize("location", ["./../../../../home/step-00003", "./..", "./../other-run/step-00003"])
def test_a_record_names_no_place_outside_its_folder(trained: Path, location: str) -> None:
    from inoc.backends.manifest import read_sealed, sealed

    path = checkpoint(trained).with_name("trained.json")
    fields = json.loads(json.dumps(dict(read_sealed(path))))
    fields["checkpoints"][-1]["location"] = location
    path.write_text(sealed(fields))
    with pytest.raises(BadInput, match="outside the run's folder"):
        read_record(path.parent)


def test_no_changed_byte_of_a_record_passes(trained: Path) -> None:
    """Every bit of one byte in ten."""
    path = checkpoint(trained).with_name("trained.json")
    whole, expected = path.read_bytes(), read_record(path.parent)
    passed = 0
    for place in range(0, len(whole), 10):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place // 10 % 8)
        path.write_bytes(damaged)
        try:
            assert read_record(path.parent) == expected, place
            passed += 1
        except BadInput:
            continue
    assert passed < len(whole) / 10 / 2, "only white space may change"


def test_an_update_without_a_checkpoint_is_not_the_base_model(trained: Path) -> None:
    record = read_record(checkpoint(trained).parent)
    assert record is not None
    assert record.at(0) is None
    with pytest.raises(BadInput, match="kept no checkpoint of update 1"):
        record.at(1)


def test_kept_answers_are_compared_with_their_hash(trained: Path) -> None:
    """Answers wait on disk between sampling and judging: a changed letter is not judged."""
    study = open_study(trained)
    entry = plan_evaluation(study, study.runs([RUN])[0], 3)
    cell = next(cell for cell in entry.cells if cell.step == 3)
    point = Checkpoint(3, str(checkpoint(trained)), AdapterSettings())
    (answers,) = sample(study, [cell.texts], point)
    assert kept_answers(cell.texts, point) == answers
    whole = cell.texts.file.read_text()
    lines = whole.splitlines(keepends=True)
    for damaged in (whole.replace('"text": "', '"text": "x', 1), "".join(lines[:-1]), "".join([*lines, lines[-1]])):
        cell.texts.file.write_text(damaged)
        with pytest.raises(BadInput, match="is damaged"):
            kept_answers(cell.texts, point)
    cell.texts.file.write_text(whole)
    assert kept_answers(cell.texts, point) == answers
