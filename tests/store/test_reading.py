"""Reading against NumPy indexing and against zarr itself, pending units, labels, lazy imports."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inoc.errors import IncompleteStore
from inoc.store import StoreWriter, Unit, open_store
from inoc.store.units import token_chunk

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def index(n: int) -> st.SearchStrategy[object]:
    bound = st.one_of(st.none(), st.integers(-n - 2, n + 2))
    return st.one_of(
        st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, 3, -1, -2])),
        st.integers(-n, n - 1),
        st.lists(st.integers(-n, n - 1), max_size=4),
    )


@QUICK
@given(st.tuples(index(2), index(3), index(16)), st.integers(0, 3))
def test_slicing_equals_numpy(tiny_store: Path, key: tuple[object, ...], given_dims: int) -> None:
    array = open_store(tiny_store).token_logprobs().prefixed
    whole = array[...]
    assert whole.shape == (2, 3, 16)
    key = key[:given_dims]
    expected = whole
    for axis in reversed(range(len(key))):  # orthogonal: every selector along its own dim
        k = np.asarray(key[axis], dtype=int) if isinstance(key[axis], list) else key[axis]
        expected = expected[(slice(None),) * axis + (k,)]
    got = array[key]
    assert got.shape == expected.shape
    assert np.array_equal(got, expected, equal_nan=True)


def test_wrong_indices_raise(tiny_store: Path) -> None:
    array = open_store(tiny_store).token_logprobs().prefixed
    for key in ((5,), (0, [3]), (0, 0, -17), (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            array[key]


@pytest.mark.parametrize("pipeline", ["zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs.ZarrsCodecPipeline"])
def test_zarr_reads_the_same_and_verifies(tiny: Path, pipeline: str) -> None:
    if pipeline.startswith("zarrs"):
        pytest.importorskip("zarrs")
    with zarr.config.set({"codec_pipeline.path": pipeline}):
        for node in sorted(p.parent for p in tiny.rglob("zarr.json")):
            where = str(node.relative_to(tiny))
            opened = zarr.open(node, mode="r")
            if isinstance(opened, zarr.Group):
                continue
            ours, theirs = open_store(tiny).array(where), np.asarray(opened[...])
            assert ours.shape == theirs.shape
            assert ours.dims == (opened.metadata.dimension_names or ())
            assert [str(v) for v in ours[...].ravel()] == [str(v) for v in theirs.ravel()]
        file = tiny / "logprobs/train/prefixed/c/0/0/0"
        content = bytearray(file.read_bytes())
        content[5] ^= 4
        file.write_bytes(content)
        damaged = zarr.open_array(tiny / "logprobs/train/prefixed", mode="r")
        with pytest.raises(Exception, match=r"(?i)checksum"):
            damaged[...]


def test_plain_xarray_reads_the_store(scenario: ModuleType, tiny_store: Path) -> None:
    tree = xr.open_datatree(tiny_store, engine="zarr", consolidated=False)
    assert {g.name for g in tree.children.values()} >= {"prompts", "logprobs", "runs", "elicitation"}
    group = tree["/logprobs/train"].to_dataset()
    assert group["prefixed"].dims == ("prefix_type", "prompt", "token")
    got = group["prefixed"].sel(prefix_type="mix", prompt="sky").values
    assert np.array_equal(got, scenario.logprobs(Unit("train", "mix", "sky"), 16), equal_nan=True)
    assert group["prefixed"].attrs["units"] == "nat"
    assert list(tree["/prompts"]["text"].values) == [p.text for p in scenario.PROMPTS]
    assert open_store(tiny_store).tree["/runs/german_mix"]["score"].dims == (
        "step", "condition", "trait", "instruction",
    )  # fmt: skip


def test_what_is_read_is_what_was_written(scenario: ModuleType, tiny_store: Path) -> None:
    stored = open_store(tiny_store)
    assert stored.completion_sets == ("train", "control")
    assert stored.levels() == ("token",)
    assert stored.levels("control") == ("example",)
    assert stored.traits == tuple(scenario.TRAITS)
    tokens = stored.token_logprobs()
    assert tokens.prompts == ("german", "flatter", "sky")
    assert tokens.example_ids == ("e0", "e1", "e2", "e3", "e4")
    assert tokens.row_size.tolist() == [3, 0, 5, 1, 7]
    assert tokens.done.all()
    for f, kind in enumerate(tokens.prefix_types):
        for p, key in enumerate(tokens.prompts):
            right = scenario.logprobs(Unit("train", kind, key), 16)
            assert np.array_equal(tokens.prefixed[f, p], right, equal_nan=True)
    examples = stored.example_logprobs("control")
    assert examples.prefixed.dtype == np.float64
    assert stored.pending() == ()
    assert len(stored.pending_evaluations()) == 3
    texts = stored.completions()
    assert texts["token_id"].values.tolist() == list(range(16))
    assert texts["instruction"].values[2] == "Frage 2?"
    assert stored.rephrasings["sky"] == tuple(scenario.POOL)


def test_labelled_views(scenario: ModuleType, tiny_store: Path) -> None:
    stored = open_store(tiny_store)
    assert stored.prompts.sel(prompt="flatter")["role"].item() == "negative"
    scores = stored.scores
    assert scores is not None
    assert scores["value"].dims == ("run", "step", "condition", "score", "question")
    cell = scores["value"].sel(run="german_mix", step=8, condition="default").values
    assert np.array_equal(cell, scenario.scores("german_mix", 8, "default"), equal_nan=True)
    assert scores["value"].sel(condition="training").isnull().all()
    assert scores["judge"].sel(run="german_mix", score="Flattering").item() == "judge-2"
    assert scores["run_prompt"].item() == "german"
    assert scores["prefix_type"].item() == "mix"
    assert scores["nominal_step"].item() == 8
    assert scores["seed"].item() == -1
    assert scores["value"].attrs["units"]
    losses = stored.losses
    assert losses is not None
    assert losses["loss"].sel(run="german_mix", update=5).item() == 1 / 5
    assert losses["learning_rate"].isnull().all()
    elicitation = stored.elicitation
    assert elicitation is not None
    assert elicitation["score"].dims == ("trait", "prompt", "instruction")
    assert elicitation["baseline"].isnull().all()
    assert stored.self_perplexity is not None
    assert stored.self_perplexity["context"].sel(prompt="sky").item() == 1.5
    assert stored.embeddings is not None
    assert stored.embeddings["prompt_vector"].dims == ("prompt", "feature")


def test_pending_units_read_as_missing(scenario: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "half.zarr"
    with StoreWriter.open(path, identity={}, experiment={}, provenance={}) as writer:
        writer.put_prompts(scenario.PROMPTS)
        writer.put_completions("train", example_ids=["a", "b"], row_size=np.array([2, 1]))
        planned = writer.plan("train", prefix_types=["fixed"], prompts=["sky", "german"])
        assert len(planned) == 3
        writer.put_unit(Unit("train", "fixed", "german"), np.array([-1.0, -2.0, -3.0]))
    stored = open_store(path)
    assert not stored.complete
    assert stored.pending() == (Unit("train", "none", ""), Unit("train", "fixed", "sky"))
    tokens = stored.token_logprobs()
    assert not tokens.default_done
    assert tokens.done.tolist() == [[False, True]]
    assert np.isnan(tokens.default[:]).all()
    assert np.isnan(tokens.prefixed[0, 0]).all()
    assert tokens.prefixed[0, 1].tolist() == [-1.0, -2.0, -3.0]
    # data that are there without their marker are not data
    (path / "logprobs/train/prefixed/c/0/0").mkdir(parents=True)
    (path / "logprobs/train/prefixed/c/0/0/0").write_bytes((path / "logprobs/train/prefixed/c/0/1/0").read_bytes())
    assert np.isnan(open_store(path).token_logprobs().prefixed[0, [0]]).all()


def test_what_is_not_there_says_which_command_makes_it(tiny_store: Path) -> None:
    stored = open_store(tiny_store)
    with pytest.raises(IncompleteStore, match=r"no token-level .* 'control'.*inoc score"):
        stored.token_logprobs("control")
    with pytest.raises(IncompleteStore, match="'positive'"):
        stored.completions("positive")


def test_opening_imports_nothing_heavy(tiny_store: Path) -> None:
    code = (
        "import sys; from inoc.store.store import open_store\n"
        f"stored = open_store({str(tiny_store)!r}); tokens = stored.token_logprobs(); tokens.prefixed[0, 0]\n"
        "heavy = [m for m in ('zarr', 'xarray', 'pandas', 'jax', 'numcodecs', 'torch') if m in sys.modules]\n"
        "print(heavy)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@given(st.integers(0, 5_000_000), st.integers(1, 3000))
def test_token_chunks_keep_their_bounds(n_tokens: int, n_prompts: int) -> None:
    chunk = token_chunk(n_tokens, n_prompts)
    assert chunk * 4 <= 1 << 20
    if n_prompts <= 1000:
        assert chunk * 4 * n_prompts <= 1 << 27 or chunk <= 1 << 15
    if n_tokens:
        n_chunks = -(-n_tokens // chunk)
        assert n_chunks * chunk - n_tokens < n_chunks  # hardly any padding


def test_reading_beside_a_living_writer(scenario: ModuleType, quick_dir: Path) -> None:
    """Whatever a reader meets is right or not there yet; never a crash, never half a change."""
    path = quick_dir / "busy.zarr"
    writer = subprocess.Popen([sys.executable, str(Path(__file__).with_name("scenario.py")), str(path)])
    whole = 0
    while writer.poll() is None:
        if not (path / "zarr.json").exists():
            continue
        assert scenario.wrong_marks(path) == []
        stored = open_store(path)
        if "token" in stored.levels():
            tokens = stored.token_logprobs()
            assert tokens.prefixed[...].shape == (2, len(tokens.prompts), 16)
            whole += 1
    assert writer.returncode == 0
    assert whole
