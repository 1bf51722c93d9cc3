"""The history of accepted experiments: it grows by one entry for each accepted change, and by nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from inoc._version import __version__
from inoc.errors import OtherSettings
from inoc.store import PromptInfo, RunPlan, StoreWriter, open_store
from inoc.store.fingerprint import fingerprint
from inoc.store.validate import validate


def opened(path: Path, experiment: dict[str, object], command: str = "inoc score", model: str = "m") -> StoreWriter:
    return StoreWriter.open(path, identity={"model": model}, experiment=experiment, provenance={}, command=command)


def test_each_accepted_change_is_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, first, second = tmp_path / "s.zarr", {"lr": 1, "a": {"b": 2}}, {"lr": 2, "a": {"b": 2}}
    opened(path, first).close()
    opened(path, first, "inoc elicit").close()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    opened(path, second, "inoc train").close()
    one, two = open_store(path).history
    assert one == {
        "command": "inoc score", "inoc": __version__, "when": "1970-01-01T00:00:00Z",
        "experiment": fingerprint(first), "changes": [],
    }  # fmt: skip
    assert (two["command"], two["when"]) == ("inoc train", "2001-09-09T01:46:40Z")
    assert two["changes"] == ["lr: stored 1, now 2"]
    assert two["experiment"] == fingerprint(open_store(path).experiment)


def test_what_is_refused_changes_no_byte(scenario: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    opened(path, {"lr": 1}).close()
    before = scenario.tree_bytes(path)
    with pytest.raises(OtherSettings) as refused:
        opened(path, {"lr": 2}, model="n")
    assert str(refused.value).splitlines()[1:] == ["  model: stored 'm', now 'n'"]
    assert scenario.tree_bytes(path) == before


def test_a_run_is_refused_by_the_fields_that_differ_only(tmp_path: Path) -> None:
    plan = {"traits": ["T"], "instructions": ["i"], "steps": [0], "sampling": {"temperature": 1.0, "max_tokens": 9}}
    long = {"notes": "x" * 2000}
    with opened(tmp_path / "s.zarr", {}) as writer:
        writer.put_prompts([PromptInfo("p", "one")])
        writer.put_run(RunPlan("r", "p", "fixed", settings={"lr": 1.0, **long}, **plan))
        other = {**plan, "sampling": {"temperature": 0.5, "max_tokens": 9}}
        writer.put_run(RunPlan("r", "p", "fixed", settings={"lr": 1.0, **long}, **other))  # nothing is evaluated yet
        assert writer.store.run("r").sampling == other["sampling"]
        writer.put_scores("r", 0, "default", np.zeros((1, 1)))
        with pytest.raises(OtherSettings) as refused:
            writer.put_run(RunPlan("r", "p", "fixed", settings={"lr": 2.0, **long}, **plan))
    assert [line.strip() for line in str(refused.value).splitlines()[1:]] == [
        "runs.r.sampling.temperature: stored 0.5, now 1.0",
        "runs.r.settings.lr: stored 1.0, now 2.0",
    ]


def test_a_store_is_not_complete_once_more_is_planned(tmp_path: Path, scenario: ModuleType) -> None:
    """A kill after `put_run`, as in `inoc train`, leaves no store that says it is complete."""
    path = tmp_path / "s.zarr"
    opened(path, {}).close()
    assert open_store(path).complete

    def work() -> None:
        writer = opened(path, {})
        writer.put_prompts([PromptInfo("p", "one")])
        writer.put_run(RunPlan("r", "p", "fixed", traits=["T"], instructions=["i"], steps=[0]))
        os._exit(9)

    assert not scenario.ended(scenario.forked(work))
    assert not open_store(path).complete
    assert validate(path) == []


def test_readers_beside_a_writer_report_nothing(quick_dir: Path) -> None:
    """Validation and summary of a store that grows all the time, as often as there is time for."""
    from inoc.store.summary import summarize

    path, looks = quick_dir / "busy.zarr", 0
    writer = subprocess.Popen([sys.executable, str(Path(__file__).with_name("scenario.py")), str(path)])
    while writer.poll() is None:
        if (path / "zarr.json").exists():
            assert validate(path) == []
            assert summarize(open_store(path)).schema_version
            looks += 1
    assert writer.returncode == 0
    assert looks
