"""Stores split over machines become the store that one machine would have made; differences are named, nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from inoc.cli.merge import merge as merge_command
from inoc.errors import BadInput, InocError, OtherSettings
from inoc.store import PromptInfo, RunPlan, ScoreInfo, StoreWriter, Unit, open_store, placing
from inoc.store.merge import merge
from inoc.store.probes import ProbePlan
from inoc.store.validate import validate

from .damage import answers

PROMPTS = [PromptInfo(key, f"Say {key}.", "g", "german", "positive") for key in ("a", "b", "c")]
ROWS = np.array([2, 3])


def values(name: str, n: int) -> np.ndarray:
    return -np.random.default_rng(len(name) + ord(name[-1])).exponential(1, n)


def write(
    path: Path, prompts: str, runs: tuple[str, ...], model: str = "m", shift: float = 0.0, condition: str = "default"
) -> Path:
    """A store with the units and elicitation of some prompts, and some runs."""
    with StoreWriter.open(
        path, identity={"model": model}, experiment={"name": "x"}, provenance={}, command="inoc run",
        traits=[ScoreInfo("German", "positive", "german")],
    ) as w:  # fmt: skip
        w.put_prompts(PROMPTS)
        w.put_rephrasings({p.key: ["x", "y"] for p in PROMPTS})
        w.put_completions("train", example_ids=["e", "f"], row_size=ROWS, token_ids=np.arange(5))
        w.plan("train", prefix_types=["fixed", "mix"], prompts=["a", "b", "c"], rephrasings=True)
        w.put_default("train", values("default", 5))
        for key in prompts:
            w.put_unit(Unit("train", "fixed", key), values(key, 5) - shift)
            w.put_unit(Unit("train", "mix", key), values(key, 5), np.array([0, 1]))
        w.put_elicitation(
            prompts=list(prompts), traits=["German"], instructions=["i"], judges=["j"], sampling={"temperature": 1.0},
            score=np.full((1, len(prompts), 1), 30.0), baseline=np.full((1, 1), 5.0),
        )  # fmt: skip
        w.put_self_perplexity(list(prompts), np.ones(len(prompts)), np.ones(len(prompts)))
        w.put_embeddings(
            list(prompts), np.ones((len(prompts), 2), np.float32), {"rephrase_mean": np.ones(len(prompts))}
        )
        columns = {"example": ["e"], "reference": ["train"], "reference_norm": np.ones(1)}
        w.plan_probe(ProbePlan("gradient", {"n": 1}, columns, ["norm", "product"], ["fixed"], list(prompts)))
        for key in prompts:
            w.put_probe("gradient", "fixed", key, {"norm": np.array(1.0), "product": np.array([float(ord(key))])})
        for run in runs:
            w.put_run(
                RunPlan(run, "a", "fixed", 0, 4, traits=["German"], instructions=["q"], steps=[0, 4], generations=True,
                        sampling={"temperature": 1.0})
            )  # fmt: skip
            for step in (0, 4):
                w.put_scores(run, step, condition, np.full((1, 1), step + 1.0 + shift), generations=[f"{run} {step}"])
                for judge in ("k", "l"):
                    w.put_judgments(run, step, condition, "German", judge, np.array([step + shift]), np.ones(1))
            w.append_losses(run, np.arange(1, 5), np.arange(4.0))
    return path


def test_two_halves_are_the_whole(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.zarr", "abc", ("r", "s"))
    halves = [write(tmp_path / "one.zarr", "ab", ("r",)), write(tmp_path / "two.zarr", "bc", ("s",))]
    before = [answers(path) for path in halves]
    dry = merge(halves, tmp_path / "merged.zarr", dry_run=True)
    assert not (tmp_path / "merged.zarr").exists()
    done = merge(halves, tmp_path / "merged.zarr")
    assert done == dry
    assert (done.prompts, done.units, done.runs, done.evaluations) == (3, 7, 2, 4)
    assert validate(tmp_path / "merged.zarr") == []
    ours, theirs = (json.loads(answers(path)) for path in (tmp_path / "merged.zarr", whole))
    for said in (ours, theirs):
        for name in ("history", "provenance"):
            del said["summary"][name]
        said["summary"]["store"] = ""
    assert ours == theirs
    assert [answers(path) for path in halves] == before
    assert [entry["command"] for entry in open_store(tmp_path / "merged.zarr").history] == ["inoc merge"]
    assert sorted(p.name for p in tmp_path.iterdir() if "merged" in p.name) == ["merged.zarr"]


def _judged_otherwise(path: Path) -> Path:
    write(path, "c", ("r",))
    with StoreWriter.open(path, identity={"model": "m"}, experiment={"name": "x"}, provenance={}) as w:
        w.put_judgments("r", 4, "default", "German", "l", np.array([77.0]), np.ones(1))
    return path


def _probed_otherwise(path: Path) -> Path:
    plan = ProbePlan(
        "gradient", {"n": 1}, {"example": ["e"], "reference": ["train"], "reference_norm": np.ones(1)},
        ["norm", "product"], ["fixed"], ["b"],
    )  # fmt: skip
    with StoreWriter.open(
        path, identity={"model": "m"}, experiment={"name": "x"}, provenance={},
        traits=[ScoreInfo("German", "positive", "german")],
    ) as w:  # fmt: skip
        w.put_prompts(PROMPTS)
        w.plan_probe(plan)
        w.put_probe("gradient", "fixed", "b", {"norm": np.array(2.0), "product": np.array([1.0])})
    return path


def _another_judge_counts(path: Path) -> Path:
    write(path, "c", ("s",))
    with StoreWriter.open(path, identity={"model": "m"}, experiment={"name": "x"}, provenance={}) as w:
        w.set_judges({"German": "k"})
    return path


BOTH = r"unit train/fixed/b \(token level\): .*one.zarr \(5 values\) and .*two.zarr \(5 values\) hold different"
OTHERS: dict[str, tuple[Callable[[Path], Path], type[InocError], str]] = {
    "identity": (lambda p: write(p, "bc", (), model="n"), OtherSettings, "model: stored 'm', now 'n'"),
    "unit": (
        lambda p: write(p, "bc", (), shift=0.5),
        OtherSettings,
        r"unit train/fixed/b \(token level\): .*one.zarr \(5 values\) and .*two.zarr \(5 values\) hold",
    ),
    "probe": (_probed_otherwise, OtherSettings, "unit of probe gradient/fixed/b"),
    "judgment": (_judged_otherwise, OtherSettings, "judgment r/4/default/German/l"),
    "current judge": (_another_judge_counts, OtherSettings, "traits.German: "),
    "evaluation": (lambda p: write(p, "c", ("r",), shift=0.5), OtherSettings, "evaluation r/0/default"),
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("one") / "one.zarr", "ab", ("r",))


@pytest.mark.parametrize("name", OTHERS)
def test_what_differs_is_named_and_nothing_is_written(one: Path, tmp_path: Path, name: str) -> None:
    make, kind, text = OTHERS[name]
    stores = [Path(shutil.copytree(one, tmp_path / "one.zarr")), make(tmp_path / "two.zarr")]
    with pytest.raises(kind, match=text) as refused:
        merge(stores, tmp_path / "merged.zarr")
    assert refused.value.exit_code == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.zarr", "two.zarr"]


def test_a_damaged_source_an_old_target_and_one_store_are_refused(tiny: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny, tmp_path / "other.zarr"))
    with pytest.raises(BadInput, match="two different stores"):
        merge([tiny, tmp_path / "." / tiny.name], tmp_path / "merged.zarr")
    with pytest.raises(BadInput, match="exists already"):
        merge([tiny, other], other)
    (other / "prompts/text/c/0").write_bytes(b"damage")
    with pytest.raises(BadInput, match=r"is damaged: /prompts/text"):
        merge([tiny, other], tmp_path / "merged.zarr")


def test_a_merge_that_is_killed_leaves_nothing_under_the_name(
    tiny: Path, tmp_path: Path, scenario: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, target = Path(shutil.copytree(tiny, tmp_path / "other.zarr")), tmp_path / "merged.zarr"
    for left in (0, 25, 60):
        assert not scenario.ended(scenario.forked(lambda left=left: _killed(scenario, [tiny, other], target, left)))
        assert not target.exists()
    merge([tiny, other], target)
    assert validate(target) == []
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def _killed(scenario: ModuleType, stores: list[Path], target: Path, left: int) -> None:
    import os

    def countdown(name: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(9)

    scenario.files.after_step = countdown
    merge(stores, target)


def test_a_replacement_that_fails_keeps_the_old_store(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new store is on the disk before the old one moves; where its rename fails the old one comes back."""
    right = answers(tiny)
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(InocError, match="No space left"):
        placing.put_in_place(tiny, lambda part: shutil.copytree(tiny, part) and None)
    assert answers(tiny) == right
    monkeypatch.undo()
    tiny.rename(tiny.with_name(f".{tiny.name}.replaced"))  # a kill between the two renames
    with pytest.raises(BadInput, match=r"killed while it replaced this store; the old one is .*replaced"):
        open_store(tiny)
    with pytest.raises(ValueError, match="mine"):
        placing.put_in_place(tiny, lambda part: (_ for _ in ()).throw(ValueError("mine")))
    assert answers(tiny) == right


def test_the_command(tiny: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny, tmp_path / "other.zarr")
    arguments = [str(tiny), str(other), "-o", str(tmp_path / "merged.zarr")]
    dry = CliRunner().invoke(merge_command, [*arguments, "--dry-run", "--json"], catch_exceptions=False)
    assert (json.loads(dry.stdout)["units"], (tmp_path / "merged.zarr").exists()) == (9, False)
    said = CliRunner().invoke(merge_command, arguments, catch_exceptions=False)
    assert "3 prompts, 9 units, 1 runs, 3 evaluations from 2 stores" in said.stdout
