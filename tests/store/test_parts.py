"""The store's small parts by hand: chunk shapes, nodes, differences, locks, what elicitation may replace."""

import json
from pathlib import Path

import numpy as np
import pytest

from inoc.errors import BadInput, BrokenStore, OtherSettings
from inoc.store import RunPlan, StoreWriter, Unit, files, open_store
from inoc.store.chunks import ChunkError, read_chunk
from inoc.store.files import array_document, chunk_shape, group_document, node_attributes, node_bytes, parse_node
from inoc.store.fingerprint import completions_fingerprint, differing, imported_identity, label_difference, refuse
from inoc.store.lock import Lock, check_free, lock_path
from inoc.store.merge import merge
from inoc.store.schema import VariableSpec
from inoc.store.tables import union, unique
from inoc.store.units import checked, token_chunk

from .test_merge import write


@pytest.mark.parametrize(
    ("given", "chunks"),
    [
        (((), "int64"), ()),
        (((3, 4), "int64", 2), (1, 1)),
        (((5,), "float64"), (5,)),
        (((0,), "float64"), (1,)),
        (((10**6,), "float64"), (2**17,)),
        (((10**6,), "float32"), (2**18,)),
        (((10**6,), "string"), (files.STRINGS_PER_CHUNK,)),
        (((2, 3, 10**6), "float64", 1), (1, 3, 2**17 // 3)),
        (((2, 3, 7), "float64", 1), (1, 3, 7)),
        (((2, 0, 7), "float64", 1), (1, 1, 7)),
        (((2, 9), "float32", 1, 4), (1, 4)),
        (((2, 9), "float32", 1, 40), (1, 9)),
        (((2, 10**6, 7), "float64", 1), (1, 10**6, 1)),
    ],
)
def test_chunks_are_about_a_mebibyte(given: tuple, chunks: tuple[int, ...]) -> None:
    assert chunk_shape(*given) == chunks


@pytest.mark.parametrize(
    ("tokens", "prompts", "chunk"),
    [
        (0, 0, 1),
        (1, 1, 1),
        (2**18, 1, 2**18),
        (2**18 + 1, 1, 2**17 + 1),
        (2**18, 2**7, 2**18),
        (2**18, 2**8, 2**17),
        (2**18, 2**20, 2**15),
        (100, 2**20, 100),
    ],
)
def test_a_column_of_chunks_over_all_prompts_is_at_most_128_mebibytes(tokens: int, prompts: int, chunk: int) -> None:
    assert token_chunk(tokens, prompts) == chunk


def test_a_mix_may_come_without_its_rephrasings(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zarr", "a", ())
    with reopened(path) as w:
        w.put_unit(Unit("train", "mix", "b"), -np.ones(5))
        with pytest.raises(BadInput, match="3 rephrasings for 2 examples"):
            w.put_unit(Unit("train", "mix", "c"), -np.ones(5), np.zeros(3, np.int64))
        with pytest.raises(BadInput, match="rephrasings given, but"):
            w.put_unit(Unit("train", "fixed", "c"), -np.ones(5), np.zeros(2, np.int64))
    assert open_store(path).read("logprobs/train/rephrasing").tolist() == [[0, 1], [-1, -1], [-1, -1]]


def test_a_chunk_of_fewer_texts_is_not_returned(tmp_path: Path) -> None:
    layout = open_store(write(tmp_path / "s.zarr", "a", ())).layout("prompts/text")
    chunk = tmp_path / "s.zarr/prompts/text/c/0"
    texts, crc = read_chunk([chunk], layout)
    assert texts.tolist() == ["Say a.", "Say b.", "Say c."]
    assert crc == chunk.read_bytes()[-4:]
    with pytest.raises(ChunkError, match="3 texts in 0, 2 expected"):
        read_chunk([chunk], layout._replace(chunks=(2,)))
    chunk.write_bytes(chunk.read_bytes()[:3])
    with pytest.raises(ChunkError, match="checksum mismatch"):
        read_chunk([chunk], layout)


def test_what_is_not_written_reads_as_missing() -> None:
    fills = {
        kind: array_document((2,), VariableSpec(("x",), kind), (2,))["fill_value"]
        for kind in ("float32", "int64", "string")
    }
    assert fills == {"float32": "NaN", "int64": -1, "string": ""}
    assert array_document((2,), VariableSpec(("x",), "int64"), (2,))["dimension_names"] == ["x"]
    assert "dimension_names" not in array_document((), VariableSpec((), "int64"), ())


def test_a_node_is_read_as_written_and_never_otherwise() -> None:
    raw = node_bytes(group_document({"a": 1, "ä": [2]}))
    assert node_attributes(parse_node(raw, "here")) == {"a": 1, "ä": [2]}
    assert node_bytes(parse_node(raw, "here")) == raw
    changed = [
        raw.replace(b'"a": 1', b'"a": 2'),
        b"",
        b"{}",
        b"[]",
        b'{"attributes": {}}',
        b'{"attributes": 3}',
        raw[:-5],
    ]
    for wrong in changed:
        with pytest.raises(BrokenStore, match=r"^here: its zarr.json is damaged"):
            parse_node(wrong, "here")


def test_an_endless_node_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = node_bytes(group_document({"a": 1}))
    monkeypatch.setattr(files, "NODE_BYTES", len(raw))
    parse_node(raw, "here")
    monkeypatch.setattr(files, "NODE_BYTES", len(raw) - 1)
    with pytest.raises(BrokenStore):
        parse_node(raw, "here")


def test_fields_that_differ_by_dotted_name() -> None:
    old = {"same": 1, "other": 1, "gone": None, "deep": {"a": 1, "b": 2}, "kind": {"a": 1}}
    new = {"same": 1, "other": 2, "new": None, "deep": {"a": 1, "b": 3}, "kind": 1}
    assert differing(old, new, "x.") == [
        ("x.deep.b", "2", "3"),
        ("x.gone", "None", "nothing"),
        ("x.kind", "{'a': 1}", "1"),
        ("x.new", "nothing", "None"),
        ("x.other", "1", "2"),
    ]
    assert differing(old, old) == []


def test_labels_that_differ() -> None:
    assert label_difference("l", "ab", "abc") == ["l: stored 2, now 3"]
    assert label_difference("l", "abc", "axy") == ["l[1]: stored 'b', now 'x'"]
    assert label_difference("l", "ab", "ab") == []
    refuse(Path("s"), [])
    with pytest.raises(OtherSettings, match=r"^s was made with other settings\. Fix: leave it\.\n  a\n  b$"):
        refuse(Path("s"), ["a", "b"], "leave it")


def test_everything_of_a_completion_set_is_in_its_fingerprint() -> None:
    whole = (["a", "b"], np.array([1, 2]), np.array([7, 8, 9]), ["x", "y"])
    others = [
        (["a", "c"], *whole[1:]),
        (whole[0], np.array([2, 1]), *whole[2:]),
        (*whole[:2], np.array([7, 8, 10]), whole[3]),
        (*whole[:3], ["x", "z"]),
        *((*whole[:i], *[None] * (4 - i)) for i in (1, 2, 3)),
    ]
    found = {completions_fingerprint(*given) for given in (whole, *others)}
    assert len(found) == len(others) + 1
    assert {len(text) for text in found} == {16}
    assert completions_fingerprint(*whole) == completions_fingerprint(*whole)
    base = imported_identity("m", {"train": "h"}, {"p": "P."}, {"p": ["one"]})
    assert (base["source"], base["model"], base["completions"]) == ("import", "m", {"train": "h"})
    assert base["prompts"] != imported_identity("m", {}, {"p": "Q."}, {})["prompts"]
    assert base["rephrasings"] != imported_identity("m", {}, {}, {"p": ["two"]})["rephrasings"]


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (0.0, True),
        (-0.5, True),
        (-1e6, True),
        (np.nan, True),
        (1e-9, False),
        (-1e6 - 1, False),
        (-np.inf, False),
        (np.inf, False),
    ],
)
def test_what_is_a_log_probability(value: float, right: bool) -> None:
    values = np.array([-1.0, value])
    if right:
        np.testing.assert_array_equal(checked(values, "float64", "here"), values)
        assert checked(values, "float32", "here").dtype == np.dtype("<f4")
    else:
        with pytest.raises(BadInput, match=r"here: value .* at index 1 is not a log-probability"):
            checked(values, "float64", "here")


def test_missing_values_have_one_bit_pattern() -> None:
    odd = np.array([np.nan, -np.nan])
    odd.view(np.uint64)[1] |= 12345
    assert len({bytes(row) for row in checked(odd, "float64", "here").view(np.uint8).reshape(2, 8)}) == 1


def test_lists_without_what_comes_twice() -> None:
    assert union("ab", [], "bca") == ["a", "b", "c"]
    unique([1, 2], "step")
    with pytest.raises(BadInput, match="step 1 comes twice"):
        unique([1, 2, 1], "step")


def test_who_holds_a_lock(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    check_free(store)
    with Lock(store) as lock:
        assert lock.taken_over is None
        said = json.loads(lock_path(store).read_text())
        with pytest.raises(BadInput, match=rf"is being written by process {said['pid']} on {said['host']}\. Fix: wait"):
            check_free(store)
        for unknown in ("", "torn {", "[]", '{"pid": "x", "host": "y"}', '{"pid": 1}'):
            lock_path(store).write_text(unknown)
            with pytest.raises(BadInput, match=r"is being written by another process\. Fix: wait"):
                Lock(store)
    assert not lock_path(store).exists()
    lock_path(store).write_text('{"pid": 12, "host": "there"}')
    check_free(store)
    assert lock_path(store).exists(), "looking takes nothing over"
    with Lock(store) as lock:
        assert lock.taken_over == (12, "there")


def reopened(path: Path, **experiment: object) -> StoreWriter:
    return StoreWriter.open(path, identity={"model": "m"}, experiment=experiment or {"name": "x"}, provenance={})


def test_what_elicitation_may_replace(tmp_path: Path) -> None:
    """Rows by prompt; judges only where the same answers are judged again, all of them."""
    path = write(tmp_path / "s.zarr", "ab", ())
    labels = {"traits": ["German"], "instructions": ["i"], "judges": ["j"]}
    one = np.full((1, 1, 1), 60.0)
    with reopened(path) as w:
        w.put_elicitation(prompts=["b"], score=one, **labels)
        for changed in ({"judges": ["k"]}, {"instructions": ["o"]}, {"sampling": {"temperature": 0.0}}):
            with pytest.raises(OtherSettings):
                w.put_elicitation(prompts=["b"], score=one, **{**labels, **changed})
        again = {**labels, "judges": ["k"], "again": True}
        with pytest.raises(BadInput, match="not all elicited prompts"):
            w.put_elicitation(prompts=["b"], score=one, **again)
        with pytest.raises(OtherSettings):
            w.put_elicitation(prompts=["a", "b"], score=np.ones((1, 2, 1)), **{**again, "instructions": ["o"]})
    assert open_store(path).read("elicitation/score").ravel().tolist() == [30.0, 60.0]
    with reopened(path) as w:
        w.put_elicitation(prompts=["a", "b"], score=np.array([[[1.0], [2.0]]]), **again)
    found = open_store(path)
    assert found.read("elicitation/score").ravel().tolist() == [1.0, 2.0]
    assert found.labels("elicitation/judge") == ("k",)
    assert found.read("elicitation/baseline").ravel().tolist() == [5.0], "what is not given stays"
    assert found.attributes("elicitation")["sampling"] == {"temperature": 1.0}


def test_a_merge_keeps_the_first_experiment_and_says_what_differs(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, keys, ()) for name, keys in (("one.zarr", "ab"), ("two.zarr", "bc"))]
    with reopened(paths[1], name="y"):
        pass
    done = merge(paths, tmp_path / "merged.zarr")
    assert open_store(tmp_path / "merged.zarr").experiment == {"name": "x"}
    assert [note for note in done.notes if "experiment" in note] == [
        f"{paths[1]}: its experiment differs from that of {paths[0]}: name: stored 'x', now 'y'"
    ]
    # in both: 3 prompts, pools and columns of the set, the set without prefix, both units of b and its four rows
    assert (done.in_several, done.new, done.units) == (3 + 3 + 3 + 1 + 2 + 4, 2 + 4, 7)


def test_what_a_notebook_shows(tmp_path: Path) -> None:
    shown = open_store(write(tmp_path / "s.zarr", "a", ("r",)))._repr_html_()
    for text in ("German (positive)", "3: a, b, c", "set train", "3 prompts x 2 examples, fixed, mix", ">1<"):
        assert text in shown
    assert "6 units and evaluations" in shown, "b and c with both prefix types, two evaluations with the own prompt"


def test_only_stored_answers_can_be_judged(tmp_path: Path) -> None:
    path = write(tmp_path / "s.zarr", "a", ("r",))
    with reopened(path) as w:
        w.put_run(RunPlan("bare", "a", "fixed", traits=["German"], instructions=["q"], steps=[0]))
        w.put_scores("bare", 0, "default", np.ones((1, 1)))
        one = np.ones(1)
        with pytest.raises(BadInput, match="run 'bare' has no stored answers"):
            w.put_judgments("bare", 0, "default", "German", "k", one, one)
        for step, condition, values in ((3, "default", one), (0, "odd", one), (0, "default", np.ones(2))):
            with pytest.raises(BadInput, match="not 1 judgments of a stored evaluation"):
                w.put_judgments("r", step, condition, "German", "k", values, np.ones(len(values)))
