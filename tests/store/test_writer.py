"""Resuming, growing, refusing: identity, locks, full disks, places that cannot be written, impossible values."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import LocalStore

from inoc.errors import BadInput, InocError, OtherSettings
from inoc.store import PromptInfo, RunPlan, ScoreInfo, StoreWriter, Unit, change, files, fingerprint, marks, open_store
from inoc.store.lock import lock_path
from inoc.store.validate import validate

SCENARIO = Path(__file__).with_name("scenario.py")


def opened(path: Path, **identity: object) -> StoreWriter:
    return StoreWriter.open(path, identity=identity, experiment={}, provenance={})


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """A store with two prompts planned and nothing scored."""
    path = tmp_path / "run.zarr"
    with opened(path, model="a") as writer:
        writer.put_prompts([PromptInfo("p", "one"), PromptInfo("q", "two")])
        writer.put_completions("train", example_ids=["x", "y"], row_size=np.array([2, 1]))
        writer.plan("train", prefix_types=["fixed"], prompts=["p", "q"])
    return path


def test_writing_again_changes_nothing(scenario: ModuleType, tiny: Path) -> None:
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tiny.rglob("*") if p.is_file()}
    scenario.write(tiny)
    for path, (time, content) in before.items():
        assert path.read_bytes() == content
        if path != tiny / "zarr.json":
            assert path.stat().st_mtime_ns == time, f"{path} was written again"


def test_every_file_of_an_array_is_what_zarr_python_writes(tiny: Path, tmp_path: Path) -> None:
    """zarr reads each array and writes it anew: metadata (but for our checksum) and chunks are the same bytes."""
    types = set[str]()
    for node in sorted(tiny.rglob("zarr.json")):
        document = json.loads(node.read_bytes())
        if document["node_type"] == "group":
            continue
        document["attributes"].pop("metadata_crc32")
        shape, copy = document["shape"], tmp_path / "copy" / node.parent.relative_to(tiny)
        with warnings.catch_warnings(action="ignore"):  # texts have no Zarr v3 specification yet
            array = zarr.create_array(
                LocalStore(copy),
                shape=shape,
                dtype=document["data_type"],
                chunks=tuple(document["chunk_grid"]["configuration"]["chunk_shape"]) or "auto",
                compressors=(Crc32cCodec(),),
                fill_value=float("nan") if document["fill_value"] == "NaN" else document["fill_value"],
                dimension_names=document.get("dimension_names"),
                attributes=document["attributes"],
                config={"write_empty_chunks": True},
            )
            if 0 not in shape:
                array[...] = zarr.open_array(LocalStore(node.parent), mode="r")[...]
        assert json.loads((copy / "zarr.json").read_bytes()) == document
        chunks = [p.relative_to(node.parent) for p in node.parent.rglob("*") if p.is_file() and p != node]
        for chunk in chunks:
            assert (copy / chunk).read_bytes() == (node.parent / chunk).read_bytes(), (node, chunk)
        types |= {document["data_type"]} if chunks else set()
    assert types >= {"float32", "float64", "int64", "string"}


def test_stores_do_not_depend_on_the_moment(scenario: ModuleType, tiny: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(SCENARIO), str(tmp_path / "other.zarr")], check=True)
    assert scenario.tree_bytes(tmp_path / "other.zarr") == scenario.tree_bytes(tiny)
    here = (os.uname().nodename, str(tmp_path))
    for content in scenario.tree_bytes(tiny).values():
        assert not any(name.encode() in content for name in here)


def test_another_identity_is_refused_field_by_field(scenario: ModuleType, tiny: Path) -> None:
    other = {"model": "tiny", "template": {"hash": "abd", "system": None}, "seed": 1}
    before = scenario.tree_bytes(tiny)
    with pytest.raises(OtherSettings) as caught:
        StoreWriter.open(tiny, identity=other, experiment={}, provenance={})
    text = str(caught.value)
    assert "template.hash: stored 'abc', now 'abd'" in text
    assert "seed: stored nothing, now 1" in text
    assert "model" not in text.split("\n", 1)[1]
    assert caught.value.exit_code == 4
    assert scenario.tree_bytes(tiny) == before
    assert not lock_path(tiny).exists()


def test_other_content_is_refused(started: Path) -> None:
    with opened(started, model="a") as writer:
        with pytest.raises(OtherSettings, match="prompt 'p' is stored as 'one', now 'changed'"):
            writer.put_prompts([PromptInfo("p", "changed")])
        with pytest.raises(OtherSettings, match="a different row_size"):
            writer.put_completions("train", example_ids=["x", "y"], row_size=np.array([1, 2]))
        with pytest.raises(OtherSettings, match="a different example_id"):
            writer.put_completions("train", example_ids=["x", "z"], row_size=np.array([2, 1]))
    with pytest.raises(OtherSettings, match="score T is stored with role 'positive'"):
        StoreWriter.open(
            started, identity={"model": "a"}, experiment={}, provenance={},
            traits=[ScoreInfo("T", "positive", "t"), ScoreInfo("T", "negative", "t")],
        )  # fmt: skip


def test_growing_keeps_what_is_there(started: Path) -> None:
    values = np.array([-1.0, -2.0, -3.0])
    with opened(started, model="a") as writer:
        writer.put_default("train", values)
        writer.put_unit(Unit("train", "fixed", "q"), values)
        writer.put_prompts([PromptInfo("new", "three"), PromptInfo("p", "one"), PromptInfo("q", "two")])
        pending = writer.plan("train", prefix_types=["fixed", "mix"], prompts=["q", "new"], rephrasings=True)
        assert set(pending) == {Unit("train", k, p) for k in ("fixed", "mix") for p in ("q", "new")} - {
            Unit("train", "fixed", "q")
        }
        writer.put_unit(Unit("train", "mix", "new"), values, np.array([1, 0]))
    stored = open_store(started)
    assert [str(k) for k in stored.prompts["prompt"].values] == ["new", "p", "q"]
    tokens = stored.token_logprobs()
    assert tokens.prompts == ("p", "q", "new")
    assert tokens.prefix_types == ("fixed", "mix")
    assert tokens.done.tolist() == [[False, True, False], [False, False, True]]
    assert tokens.prefixed[0, 1].tolist() == values.tolist()
    assert stored.read("logprobs/train/rephrasing").tolist() == [[-1, -1], [-1, -1], [1, 0]]
    assert validate(started) == []
    assert not stored.complete


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([-1.0, -2.0], "2 values, but the set has 3 tokens"),
        ([-1.0, np.inf, -1.0], "index 1 is not a log-probability"),
        ([-1.0, -np.inf, -1.0], "index 1 is not a log-probability"),
        ([-1.0, -2.0, 1e-6], "index 2 is not a log-probability"),
    ],
)
def test_values_that_cannot_be_right_are_refused(started: Path, values: list[float], what: str) -> None:
    unit = Unit("train", "fixed", "p")
    with opened(started, model="a") as writer, pytest.raises(BadInput, match=what):
        writer.put_unit(unit, np.array(values))
    assert unit in open_store(started).pending()


def test_units_must_be_planned(started: Path) -> None:
    values = np.array([-1.0, -2.0, -3.0])
    with opened(started, model="a") as writer:
        for unit in (Unit("train", "mix", "p"), Unit("train", "fixed", "z"), Unit("control", "none", "")):
            with pytest.raises(BadInput, match="not planned"):
                writer.put_unit(unit, values)
        with pytest.raises(BadInput, match="'z' is to be scored but not among"):
            writer.plan("train", prefix_types=["fixed"], prompts=["z"])
        with pytest.raises(BadInput, match="is not stored"):
            writer.plan("control", prefix_types=["fixed"], prompts=["p"])
        with pytest.raises(BadInput, match="cannot be stored"):
            writer.put_completions("../x", example_ids=["a"])


def test_a_unit_may_be_replaced(started: Path) -> None:
    unit = Unit("train", "fixed", "p")
    with opened(started, model="a") as writer:
        writer.put_unit(unit, np.array([-1.0, -2.0, -3.0]))
        writer.put_unit(unit, np.array([-4.0, -5.0, np.nan]))
    assert np.array_equal(open_store(started).token_logprobs().prefixed[0, 0], [-4, -5, np.nan], equal_nan=True)
    assert validate(started) == []


@pytest.mark.parametrize("damage", ["a flipped bit", "the data of another unit", "no data", "its marker"])
def test_putting_a_damaged_unit_again_repairs_it(scenario: ModuleType, tiny: Path, damage: str) -> None:
    """The marker alone does not say that the data are there."""
    right = scenario.tree_bytes(tiny)
    data, other = (tiny / f"logprobs/train/prefixed/c/0/{place}/0" for place in (1, 0))
    marker = tiny / "logprobs/train/unit_crc/c/0/1"
    if damage == "a flipped bit":
        data.write_bytes(bytes([data.read_bytes()[0] ^ 4]) + data.read_bytes()[1:])
    elif damage == "the data of another unit":
        data.write_bytes(other.read_bytes())
    elif damage == "no data":
        data.unlink()
    else:
        marker.write_bytes((tiny / "logprobs/train/unit_crc/c/0/0").read_bytes())
    unit = Unit("train", "fixed", "flatter")
    with StoreWriter.open(
        tiny, identity=scenario.IDENTITY, experiment={"name": "tiny"}, provenance={"inoc": "0"}
    ) as writer:
        writer.put_unit(unit, scenario.logprobs(unit, int(scenario.ROWS.sum())))
    assert scenario.tree_bytes(tiny) == right


def test_data_are_flushed_before_their_marker(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks and the directories that name them; a transaction before and after its one rename."""
    log: list[str] = []
    monkeypatch.setattr(files, "after_step", log.append)
    for module in (marks, change):
        monkeypatch.setattr(module, "flush", lambda path: log.append(str(path.relative_to(started))))
    with opened(started, model="a") as writer:
        writer.put_unit(Unit("train", "fixed", "q"), np.array([-1.0, -2.0, -3.0]))
        unit = "logprobs/train/prefixed"
        chunk = [f"{unit}/c/0/1/0", f"{unit}/c/0/1", f"{unit}/c/0", f"{unit}/c", unit]
        mark = "logprobs/train/unit_crc"
        marker = [f"{mark}/c/0/1", f"{mark}/c/0", f"{mark}/c", mark]
        assert log == ["listed", "data", *chunk, *marker, "marker"]
        log.clear()
        writer.put_rephrasings({"p": ["one"]})
    staged, committed, moved = log.index("staged"), log.index("committed"), log.index("finished")
    assert {".staged", ".staged/new/rephrasings", ".staged/new/rephrasings/text/c/0"} <= set(log[:staged])
    assert log[committed - 1] == "."
    assert {".", "rephrasings", "rephrasings/text", "rephrasings/text/c"} <= set(log[committed:moved])


def test_scores_are_flushed_before_their_marker(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three variables with their directories; markers, too, before the store counts as settled."""
    log: list[str] = []
    run = "runs/r"
    plan = RunPlan("r", "p", "fixed", traits=["T"], instructions=["i"], steps=[0], generations=True)
    with opened(started, model="a") as writer:
        writer.put_run(plan)
        monkeypatch.setattr(files, "after_step", log.append)
        monkeypatch.setattr(marks, "flush", lambda path: log.append(str(path.relative_to(started))))
        writer.put_scores("r", 0, "default", np.zeros((1, 1)), generations=["text"])
        assert log[:3] == ["score", "coverage", "generation"]
        assert log[-1] == "marker"
        for variable, ndim in (("score", 4), ("coverage", 4), ("generation", 3)):
            place = f"{run}/{variable}/c" + "/0" * ndim
            while place != run:
                assert place in log[3:-1]
                place = place.rpartition("/")[0]
        log.clear()
    assert f"{run}/unit_crc/c/0/0" in log[: log.index("listed")]


def test_all_missing_data_are_stored_as_data(started: Path) -> None:
    """Chunks of NaN look like chunks that were never written; they must be written all the same."""
    with opened(started, model="a") as writer:
        writer.put_unit(Unit("train", "fixed", "p"), np.full(3, np.nan))
    stored = open_store(started)
    assert stored.token_logprobs().done.tolist() == [[True, False]]
    assert (started / "logprobs/train/prefixed/c/0/0/0").exists()
    assert validate(started) == []


def test_an_empty_set_can_be_stored(tmp_path: Path) -> None:
    path = tmp_path / "empty.zarr"
    with opened(path) as writer:
        writer.put_prompts([PromptInfo("p", "one")])
        writer.put_completions("train", example_ids=["x"], row_size=np.array([0]))
        writer.plan("train", prefix_types=["fixed"], prompts=["p"])
        writer.put_default("train", np.zeros(0))
        writer.put_unit(Unit("train", "fixed", "p"), np.zeros(0))
    assert open_store(path).complete
    assert validate(path) == []


def test_runs_refuse_other_judges_and_unplanned_cells(tiny: Path, scenario: ModuleType) -> None:
    with StoreWriter.open(tiny, identity=scenario.IDENTITY, experiment={}, provenance={}) as writer:
        texts = ["", "", "", ""]
        with pytest.raises(OtherSettings, match="judged by 'judge-1' in the store, now by 'other'"):
            writer.put_scores(
                "german_mix", 0, "training", np.zeros((2, 4)), judge={"German": "other"}, generations=texts
            )
        with pytest.raises(BadInput, match="plans no evaluation at step 5"):
            writer.put_scores("german_mix", 5, "training", np.zeros((2, 4)), generations=texts)
        with pytest.raises(BadInput, match="generations"):
            writer.put_scores("german_mix", 0, "training", np.zeros((2, 4)))
        with pytest.raises(BadInput, match="shape"):
            writer.put_scores("german_mix", 0, "training", np.zeros((2, 3)), generations=texts)
        with pytest.raises(OtherSettings, match="judge"):
            writer.put_elicitation(
                prompts=["sky"], traits=["German", "Flattering"], instructions=["i0", "i1"],
                score=np.zeros((2, 1, 2)), judges=["judge-1", "judge-9"],
            )  # fmt: skip
        writer.append_losses("german_mix", np.array([6, 7]), np.array([9.0, 8.0]), np.array([1e-4, 0.0]))
    losses = open_store(tiny).losses
    assert losses is not None
    assert losses["loss"].values[0].tolist() == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 9.0, 8.0]


# locks


def hold(path: Path) -> subprocess.Popen[str]:
    """Another process that writes the store and waits."""
    code = (
        "import sys; from inoc.store import StoreWriter\n"
        f"w = StoreWriter.open({str(path)!r}, identity={{'model': 'a'}}, experiment={{}}, provenance={{}})\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_writers_are_refused_and_a_dead_one_is_replaced(started: Path) -> None:
    other = hold(started)
    try:
        with pytest.raises(BadInput, match=rf"being written by process {other.pid} on .*\. Fix: wait for it"):
            opened(started, model="a")
        assert open_store(started).pending()  # readers are welcome
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    assert lock_path(started).exists()
    with opened(started, model="a") as writer:
        assert len(writer.notes) == 1
        assert f"process {other.pid} left behind" in writer.notes[0]
    assert not lock_path(started).exists()
    with opened(started, model="a") as writer:
        assert writer.notes == []


def test_a_lock_file_of_a_recycled_pid_does_not_block(started: Path) -> None:
    """The name in the file is that of a living process, which however does not hold the lock."""
    lock_path(started).write_text(json.dumps({"pid": os.getppid(), "host": "elsewhere"}))
    with opened(started, model="a") as writer:
        assert writer.notes
    lock_path(started).write_text("torn {")
    with opened(started, model="a"):
        pass


def test_the_lock_is_released_on_errors(started: Path) -> None:
    with pytest.raises(RuntimeError, match="mine"), opened(started, model="a"):
        raise RuntimeError("mine")
    with opened(started, model="a"):
        pass


# places that cannot be written


def test_a_directory_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.partial").write_text("mine")
    (tmp_path / ".staged").mkdir()
    (tmp_path / ".staged/data").write_text("mine")
    with pytest.raises(BadInput, match="not an inoc store"):
        opened(tmp_path)
    assert (tmp_path / "precious.partial").exists()
    assert (tmp_path / ".staged/data").exists()


SMALL = """
import os, resource, sys
from pathlib import Path
import filelock, numpy as np, zarr
from inoc.errors import InocError
from inoc.store import PromptInfo, StoreWriter, Unit
path, mode = Path(sys.argv[1]), sys.argv[2]
if mode == "nobody":
    os.setgid(65534); os.setuid(65534)
try:
    with StoreWriter.open(path, identity={}, experiment={}, provenance={}) as w:
        w.put_prompts([PromptInfo("p", "one")])
        w.put_completions("train", example_ids=["x"], row_size=np.array([50_000]))
        w.plan("train", prefix_types=["fixed"], prompts=["p"])
        w.put_default("train", np.full(50_000, -1.0))
        if mode == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        w.put_unit(Unit("train", "fixed", "p"), np.full(50_000, -1.0))
    print("written")
except InocError as error:
    print(type(error).__name__, error.exit_code, error)
"""


def small(path: Path, mode: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SMALL, str(path), mode], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.zarr"
    said = small(path, "full")
    assert said.startswith("InocError 1 ")
    assert "What is marked done is safe" in said
    stored = open_store(path)
    assert stored.token_logprobs().default_done
    assert stored.pending() == (Unit("train", "fixed", "p"),)
    assert validate(path) == []
    assert small(path, "enough") == "written"
    assert open_store(path).complete
    assert not [p for p in path.rglob("*") if "partial" in p.name or p.name.startswith(".")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_really_full_disk(tmp_path: Path, scenario: ModuleType) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(InocError, match="No space left"):
            scenario.write(disk / "run.zarr")
        assert scenario.wrong_marks(disk / "run.zarr") == []
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        scenario.write(disk / "run.zarr")
        assert validate(disk / "run.zarr") == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_place_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "readonly"
    place.mkdir()
    place.chmod(0o555)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    said = small(place / "run.zarr", "nobody" if os.geteuid() == 0 else "user")
    assert said.startswith("BadInput 2 ")
    assert "cannot be written (Permission denied)" in said
    assert list(place.iterdir()) == []


# fingerprints


def test_fingerprints_are_stable_and_tell_apart() -> None:
    ids = np.array([1, 2, 3])
    base = fingerprint.completions_fingerprint(["a", "b"], np.array([2, 1]), ids, ["x", "y"])
    assert base == "6daf82cae18ed76c"  # the same on every machine and in every version
    others = [
        fingerprint.completions_fingerprint(["a", "c"], np.array([2, 1]), ids, ["x", "y"]),
        fingerprint.completions_fingerprint(["a", "b"], np.array([1, 2]), ids, ["x", "y"]),
        fingerprint.completions_fingerprint(["a", "b"], np.array([2, 1]), ids[::-1], ["x", "y"]),
        fingerprint.completions_fingerprint(["a", "b"], np.array([2, 1]), ids, ["xy", ""]),
        fingerprint.completions_fingerprint(["a", "b"], np.array([2, 1]), ids),
    ]
    assert len({base, *others}) == 6
    assert base == fingerprint.completions_fingerprint(["a", "b"], np.array([2, 1], "i4"), ids.astype("i8"), ["x", "y"])
    assert fingerprint.fingerprint({"a": "1", "b": "2"}) == fingerprint.fingerprint({"b": "2", "a": "1"})
    assert fingerprint.fingerprint(["a", "b"]) != fingerprint.fingerprint(["b", "a"])
