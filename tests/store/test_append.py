"""`inoc import --append`: what is there is kept, what is new is added, what differs is named with both files."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from inoc.cli.import_ import import_
from inoc.errors import BadInput, InocError
from inoc.store import StoreWriter, open_store
from inoc.store.imports import ImportSummary, Sources, import_run
from inoc.store.merge import merge
from inoc.store.validate import validate

from .damage import answers
from .test_import import PROMPTS, elicitation, means, scores, tokens


def put(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def of(keys: str, **more: object) -> dict[str, object]:
    """The example means of some of the prompts."""
    whole = means(**more)
    prompts = whole["prompts"]
    assert isinstance(prompts, dict)
    return {**whole, "params": {"model": "m"}, "prompts": {key: prompts[key] for key in keys}}


def grow(store: Path, *logprobs: Path, **sources: object) -> ImportSummary:
    there = store.exists()
    return import_run(Sources(logprobs, **sources), store, append=there)  # pyright: ignore[reportArgumentType]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def content(store: Path) -> Mapping[str, object]:
    """What a study reads, without where it is from."""
    said = json.loads(answers(store))
    for name in ("history", "provenance", "store"):
        del said["summary"][name]
    return said


def parts_in(folder: Path) -> dict[str, dict[str, object]]:
    """What is imported one after another, as files of a folder."""
    runs, prompts = scores(), {"prompts": put(folder / "prompts.json", PROMPTS)}
    return {
        "p": {"logprobs": [put(folder / "p.json", of("p"))], **prompts},
        "q": {"logprobs": [put(folder / "q.json", of("q"))]},
        "tokens": {"logprobs": [put(folder / "t.json", tokens())]},
        "elicitation": {"elicitation": put(folder / "e.json", elicitation())},
        "control": {"scores": [put(folder / "c.json", {"no_inoculation": runs["no_inoculation"]})]},
        "runs": {"scores": [put(folder / "r.json", {name: runs[name] for name in ("p", "q_mix")})]},
    }


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, dict[str, object]]:
    return parts_in(tmp_path)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the parts and the store of four of them; do not write to it."""
    folder = tmp_path_factory.mktemp("grown")
    in_order(folder / "s.zarr", parts_in(folder), ["p", "elicitation", "control", "runs"])
    return folder


def in_order(store: Path, parts: Mapping[str, dict[str, object]], names: list[str]) -> Path:
    for name in names:
        logprobs = cast("list[Path]", parts[name].get("logprobs", []))
        grow(store, *logprobs, **{k: v for k, v in parts[name].items() if k != "logprobs"})
    return store


def test_parts_are_the_whole(parts: Mapping[str, dict[str, object]], tmp_path: Path) -> None:
    files = [put(tmp_path / "pq.json", of("pq")), tmp_path / "t.json"]
    whole = tmp_path / "whole.zarr"
    import_run(
        Sources(files, tmp_path / "prompts.json", scores=[tmp_path / "c.json", tmp_path / "r.json"],
                elicitation=tmp_path / "e.json"), whole,
    )  # fmt: skip
    grown = in_order(tmp_path / "grown.zarr", parts, list(parts))
    assert content(grown) == content(whole)
    assert open_store(grown).identity == open_store(whole).identity
    assert validate(grown) == []
    history = open_store(grown).history
    assert [entry["command"] for entry in history] == ["inoc import"] + ["inoc import --append"] * 5
    assert [str(entry["changes"]).split(":")[0] for entry in history[1:]] == [
        f"['files.{name}.json" for name in ("q", "t", "e", "c", "r")
    ]  # fmt: skip
    assert len(open_store(grown).provenance["appended"]) == 5  # type: ignore[arg-type]
    backwards = in_order(tmp_path / "back.zarr", parts, ["p", *list(parts)[:0:-1]])
    assert {u for u in open_store(backwards).pending()} == {u for u in open_store(whole).pending()}
    assert open_store(backwards).identity["completions"] == open_store(whole).identity["completions"]
    assert sorted(p.name for p in tmp_path.iterdir() if "zarr" in p.name) == ["back.zarr", "grown.zarr", "whole.zarr"]


def test_what_is_there_already_changes_no_byte(parts: Mapping[str, dict[str, object]], tmp_path: Path) -> None:
    store = in_order(tmp_path / "s.zarr", parts, ["p", "q", "control"])
    before = everything(tmp_path)
    in_order(store, parts, ["control", "q", "p"])
    assert everything(tmp_path) == before
    assert grow(store, tmp_path / "q.json").kept > 4


def test_roles_that_come_later(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    grow(store, put(tmp_path / "a.json", of("p")))
    assert open_store(store).traits == ()
    grow(store, prompts=put(tmp_path / "p.json", PROMPTS), elicitation=put(tmp_path / "e.json", elicitation()))
    assert [t.name for t in open_store(store).traits] == ["German", "Flattering"]
    stored = open_store(store)
    assert dict(zip(*(stored.labels(f"prompts/{v}") for v in ("prompt", "role")), strict=True)) == {
        "p": "positive", "q": "negative", "unscored": "neutral",
    }  # fmt: skip


def test_roles_alone_are_new(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    grow(store, put(tmp_path / "a.json", of("pq")))
    grow(store, prompts=put(tmp_path / "p.json", {key: PROMPTS[key] for key in ("p", "q")}))
    assert open_store(store).labels("prompts/role") == ("positive", "negative")
    before = everything(store)
    grow(store, prompts=tmp_path / "p.json")
    assert everything(store) == before


def other(name: str, tmp_path: Path) -> dict[str, object]:
    """Files that contradict the store."""
    runs, elicited = scores(), json.dumps(elicitation())
    match name:
        case "values":
            text = json.dumps(of("p")).replace("[-2.0, -1.0, -3.0]", "[-2.5, -1.0, -3.0]")
            return {"logprobs": [put(tmp_path / "x.json", json.loads(text))]}
        case "examples":
            one = {"lp_train_default": [-1.0]}
            return {"logprobs": [put(tmp_path / "x.json", {"baseline": one, "prompts": {}})]}
        case "model":
            return {"logprobs": [put(tmp_path / "x.json", {**of("q"), "params": {"model": "n"}})]}
        case "text":
            text = json.dumps(of("p")).replace("Be German.", "Be.")
            return {"logprobs": [put(tmp_path / "x.json", json.loads(text))]}
        case "run":
            return {"scores": [put(tmp_path / "x.json", {"p": {**runs["p"], "lr": 5e-4}})]}  # type: ignore[dict-item]
        case "scores":
            text = json.dumps({"p": runs["p"]}).replace("10.0, 30.0", "11.0, 29.0")
            return {"scores": [put(tmp_path / "x.json", json.loads(text))]}
        case "instructions":
            text = json.dumps({"q_mix": runs["q_mix"]}).replace("[10.0, 30.0]", "[20.0]")
            return {"scores": [put(tmp_path / "x.json", json.loads(text))]}
        case "elicitation":
            text = elicited.replace(", null]", "]").replace("55.0", "55.0")
            return {"elicitation": put(tmp_path / "x.json", json.loads(text))}
        case _:
            return {"logprobs": [put(tmp_path / "x.json", of("q"))], "traits": ["positive=French:french"]}


REFUSED = {
    "values": r"unit train/none/default \(example level\): .*s\.zarr \(3 values\) and .*x\.json \(3 values\) hold",
    "examples": r"completion set train/example_id: .*s\.zarr \(3 values\) and .*x\.json \(1 values\) hold",
    "model": r"(?s)s\.zarr.* and .*x\.json.*model: stored 'm', now 'n'",
    "text": r"x\.json: prompt 'p' has the text 'Be\.', elsewhere it is 'Be German\.'",
    "run": r"run p: .*s\.zarr and .*x\.json hold different values \(settings\.learning_rate: stored 0\.0001, now",
    "scores": r"evaluation p/0/default: .*s\.zarr \(4 values\) and .*x\.json \(4 values\) hold",
    "instructions": r"run 'q_mix' of .*x\.json has scores of 1 instructions, run '.*' of .*s\.zarr of 2",
    "elicitation": r"elicitation instruction: .*s\.zarr \(3 values\) and .*x\.json \(2 values\) hold",
    "trait": "2 positive traits",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_differs_is_refused_with_both_files(grown: Path, tmp_path: Path, name: str) -> None:
    store = Path(shutil.copytree(grown, tmp_path, dirs_exist_ok=True)) / "s.zarr"
    given = other(name, tmp_path)
    before = everything(tmp_path)
    with pytest.raises(InocError, match=REFUSED[name]) as refused:
        grow(store, *given.pop("logprobs", ()), **given)  # type: ignore[misc]
    assert "Fix: " in str(refused.value)
    assert ".added" not in str(refused.value)
    assert everything(tmp_path) == before


def test_only_an_imported_store_is_added_to(tmp_path: Path) -> None:
    file, store = put(tmp_path / "a.json", of("p")), tmp_path / "s.zarr"
    with pytest.raises(BadInput, match="no such store"):
        import_run(Sources([file]), store, append=True)
    with pytest.raises(BadInput, match="give one of them"):
        import_run(Sources([file]), store, append=True, overwrite=True)
    StoreWriter.open(store, identity={"model": "m"}, experiment={}, provenance={}).close()
    before = everything(tmp_path)
    with pytest.raises(BadInput, match="was not made by inoc import"):
        import_run(Sources([file]), store, append=True)
    assert everything(tmp_path) == before


def test_a_damaged_store_is_not_added_to(parts: Mapping[str, dict[str, object]], tmp_path: Path) -> None:
    store, damaged = in_order(tmp_path / "s.zarr", parts, ["p"]), tmp_path / "damaged.zarr"
    right = content(in_order(Path(shutil.copytree(store, tmp_path / "right.zarr")), parts, ["q"]))
    for file in sorted(p for p in store.rglob("*") if p.is_file())[::5]:
        shutil.rmtree(damaged, ignore_errors=True)
        place = Path(shutil.copytree(store, damaged)) / file.relative_to(store)
        old = place.read_bytes()
        place.write_bytes(old[: len(old) // 2] + bytes([old[len(old) // 2] ^ 4]) + old[len(old) // 2 + 1 :])
        before = everything(tmp_path)
        try:
            in_order(damaged, parts, ["q"])
        except InocError:
            assert everything(tmp_path) == before, file
        else:
            assert content(damaged) == right, file


def test_imports_of_other_files_are_merged(parts: Mapping[str, dict[str, object]], tmp_path: Path) -> None:
    one = in_order(tmp_path / "one.zarr", parts, ["p", "runs"])
    two = in_order(tmp_path / "two.zarr", {**parts, "q": {**parts["q"], "prompts": tmp_path / "prompts.json"}}, ["q"])
    merge([one, two], tmp_path / "merged.zarr")
    merged = open_store(tmp_path / "merged.zarr")
    assert merged.identity == open_store(in_order(tmp_path / "all.zarr", parts, ["p", "runs", "q"])).identity
    assert merged.example_logprobs().prompts == ("p", "q")
    assert validate(tmp_path / "merged.zarr") == []
    files = [list(entry["provenance"]["files"]) for entry in merged.provenance["merged"]]  # type: ignore[index, attr-defined]
    assert files == [["p.json", "prompts.json"], ["q.json", "prompts.json"]]
    shutil.rmtree(two)
    bad = put(tmp_path / "q.json", {**of("q"), "params": {"model": "n"}})
    grow(two, bad)
    with pytest.raises(InocError, match="model: stored 'm', now 'n'"):
        merge([one, two], tmp_path / "other.zarr")


def test_the_command(tmp_path: Path) -> None:
    store = str(tmp_path / "s.zarr")
    for name, more in (("p", ()), ("q", ("--append",))):
        file = put(tmp_path / f"{name}.json", of(name))
        said = CliRunner().invoke(import_, [str(file), "--store", store, *more], catch_exceptions=False)
        assert said.exit_code == 0, said.output
    assert "were in the store already, equal, and are kept" in said.stdout
    assert open_store(store).example_logprobs().prompts == ("p", "q")
