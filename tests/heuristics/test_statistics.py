"""The streamed pass against float64 formulas, plain NumPy and scikit-learn, and itself cut anyhow."""

import json
import random as stdlib_random
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from benchmarks import peer
from inoc.errors import BadInput
from inoc.heuristics import heuristics
from inoc.heuristics.frame.registry import as_terms
from inoc.heuristics.maths import tokenwise
from inoc.heuristics.maths.position_spectrum import energy_shares, position_matrix
from inoc.heuristics.tokens import engines, one_pass, sums
from inoc.heuristics.tokens.engines import accelerator_present, choose
from inoc.heuristics.tokens.layout import RowLayout, TokenRows
from inoc.heuristics.tokens.numpy_engine import NumpyEngine
from inoc.heuristics.tokens.one_pass import TokenStatistics, finalize, row_values, token_statistics, token_sums
from inoc.heuristics.tokens.sums import TokenSums, count_positions
from inoc.heuristics.tokens.terms import PRODUCTS, block_tokens

TERMS = as_terms({n: h.token_term for n, h in heuristics().items() if h.token_term})
ROW_TERMS = as_terms({n: h.row_term for n, h in heuristics().items() if h.row_term})


@dataclass(frozen=True)
class Case:
    default: np.ndarray
    prefixed: np.ndarray
    row_size: np.ndarray

    def statistics(self, **options) -> TokenStatistics:
        n_types, n_prompts, _ = self.prefixed.shape
        return token_statistics(
            self.default,
            self.prefixed,
            self.row_size,
            prefix_types=("fixed", "mix")[:n_types],
            prompts=tuple(f"p{i}" for i in range(n_prompts)),
            **{"terms": TERMS, "row_terms": ROW_TERMS, **options},
        )

    def rows(self) -> TokenRows:
        n_types, n_prompts, _ = self.prefixed.shape
        return TokenRows(
            self.default,
            self.prefixed,
            RowLayout(self.row_size.astype(np.int64)),
            prefix_types=("fixed", "mix")[:n_types],
            prompts=tuple(f"p{i}" for i in range(n_prompts)),
            memory=1 << 12,
        )

    @property
    def delta(self) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return self.prefixed - self.default


def make(seed: int, types: int, prompts: int, row_size: list[int], quantum: float = 0.0, missing: float = 0.0) -> Case:
    """Logprobs with a shared direction; `quantum` rounds (ties), `missing` is the share of broken pairs."""
    rng = np.random.default_rng(seed)
    n = sum(row_size)
    default = -rng.exponential(1.5, n)
    prefixed = default + 0.4 * rng.standard_t(3, (types, prompts, n)) + 0.3 * rng.standard_t(3, n)
    if prompts > 1 and seed % 3 == 0:
        prefixed[0, 0] = default - 0.25  # a constant row
    if quantum:
        default, prefixed = np.round(default / quantum) * quantum, np.round(prefixed / quantum) * quantum
    prefixed[rng.random(prefixed.shape) < missing] = np.nan
    prefixed[rng.random(prefixed.shape) < missing / 2] = -np.inf
    default[rng.random(n) < missing / 4] = np.nan
    return Case(default.astype(np.float32), prefixed.astype(np.float32), np.array(row_size, dtype=int))


@pytest.fixture(autouse=True, scope="module")
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled programs of these tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@st.composite
def cases(draw: st.DrawFn, missing: bool = True) -> Case:
    return make(
        seed=draw(st.integers(0, 2**32 - 1)),
        types=draw(st.integers(1, 2)),
        prompts=draw(st.integers(1, 4)),
        row_size=draw(st.lists(st.integers(1, 30), min_size=1, max_size=25)),
        quantum=draw(st.sampled_from([0.0, 0.125, 0.5])),
        missing=draw(st.sampled_from([0.0, 0.1, 0.8])) if missing else 0.0,
    )


def oracle(case: Case, recipe: str = "corrected") -> dict[str, np.ndarray]:
    """Every field from the bare float64 functions, one row at a time."""
    delta, sizes = case.delta, case.row_size
    valid = np.isfinite(delta)
    filled = np.where(valid, delta, 0).astype(np.float64)
    starts = np.cumsum(sizes) - sizes
    with np.errstate(invalid="ignore"):
        w = np.add.reduceat(filled, starts, axis=2) / np.add.reduceat(valid.astype(float), starts, axis=2)
    rows = filled.reshape(-1, filled.shape[2])

    def by_row(function) -> np.ndarray:
        return np.array([function(row) for row in delta.reshape(rows.shape)]).reshape(delta.shape[:2])

    def shares(row: np.ndarray, recipe: str) -> np.ndarray:
        return energy_shares(position_matrix(row, sizes), recipe)

    means = {
        name: getattr(tokenwise, name)(delta)
        for name in (
            "mean_abs",
            "mean_signed",
            "mean_square",
            "filtered",
            "gradient",
            "filtered_gradient",
            "loss_decay",
        )
    }
    moved, reached = tokenwise.position_counts(delta, sizes)
    recovered, rare, _ = tokenwise.recovered_counts(case.default, case.prefixed)
    return {
        "count": valid.sum(axis=2),
        "missing": (~valid).sum(axis=2),
        **means,
        "top_quarter": by_row(tokenwise.top_quarter),
        "coherence": by_row(lambda row: tokenwise.coherence(shares(row, recipe))),
        "moved": moved,
        "reached": reached,
        "recovered": recovered,
        "rare": rare,
        "w": w,
        "gram": filled @ np.swapaxes(filled, -1, -2),
    }


def assert_same(got: TokenStatistics, expected: dict[str, np.ndarray], rtol: float = 1e-6) -> None:
    found = as_dict(got)
    for name, value in expected.items():
        mine = found[name]
        if value.dtype.kind in "iub":
            np.testing.assert_array_equal(mine, value, err_msg=name)
        else:
            scale = float(np.abs(value[np.isfinite(value)]).max(initial=1.0))
            # HB2 = (mean abs - residual) / 0.01: the rounding of two float32 sums, a hundredfold
            times = 10.0 if name == "loss_decay" else 1.0
            np.testing.assert_allclose(mine, value, rtol=times * rtol, atol=times * 1e-6 * scale, err_msg=name)


def as_dict(statistics: TokenStatistics) -> dict[str, np.ndarray]:
    arrays = {f.name: getattr(statistics, f.name) for f in fields(statistics)[2:] if f.name not in ("means", "rows")}
    return arrays | dict(statistics.means) | dict(statistics.rows)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_equals_the_bare_formulas(case: Case) -> None:
    assert_same(case.statistics(engine="numpy"), oracle(case))
    published = case.statistics(terms=(), recipe="published").rows["coherence"]
    np.testing.assert_allclose(published, oracle(case, "published")["coherence"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("types", [1, 2])
def test_engines_agree(types: int, missing: float) -> None:
    case = make(5, types, 3, [70, 1, 900, 340, 1, 1, 25] * 12, missing=missing)
    assert block_tokens(3 * types) > case.default.size  # the JAX block is padded
    by_numpy, by_jax = case.statistics(engine="numpy"), case.statistics(engine="jax")
    assert_same(by_jax, as_dict(by_numpy))
    assert_same(by_jax, oracle(case))


def test_auto_is_numpy_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert not accelerator_present()
    assert choose("auto").name == "numpy"
    assert choose("jax").name == "jax"


@pytest.mark.parametrize(("platforms", "plugin"), [("cpu", object()), (None, None)])
def test_jax_is_not_asked_where_it_can_only_be_a_cpu(
    monkeypatch: pytest.MonkeyPatch, platforms: str | None, plugin: object
) -> None:
    import jax

    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    if platforms:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setattr(engines, "find_spec", lambda name: plugin)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not accelerator_present()


def test_jax_is_asked_where_a_plugin_of_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    for installed in ("jax_plugins", "libtpu"):
        monkeypatch.setattr(engines, "find_spec", lambda name, one=installed: object() if name == one else None)
        for backend in ("gpu", "cpu"):
            monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
            assert accelerator_present() == (backend == "gpu")


def test_jax_over_several_blocks() -> None:
    case = make(6, 2, 40, [100, 700] * 25, missing=0.01)
    assert block_tokens(80) < case.default.size
    by_numpy = case.statistics(engine="numpy", row_terms=())
    assert_same(case.statistics(engine="jax", row_terms=()), as_dict(by_numpy))


@settings(deadline=None, max_examples=20)
@given(cases(missing=False))
def test_equals_plain_numpy_and_sklearn(case: Case) -> None:
    n_types = len(case.prefixed)
    got = case.statistics(engine="numpy")
    for f in range(n_types):
        expected = peer.row_statistics(case.delta[f].astype(np.float64), case.row_size, int(case.row_size.max()))
        found = as_dict(got)
        for name, value in expected.items():
            if name in found and name != "recovered" and name not in ("coherence", "effective_rank"):
                # zero matrices: NaN here, other conventions there
                np.testing.assert_allclose(found[name][f], value, rtol=1e-5, atol=2e-6, err_msg=name)
        z = StandardScaler().fit_transform(case.delta[f].astype(np.float64))
        np.testing.assert_allclose(got.gram_scaled[f], z @ z.T, rtol=1e-9, atol=1e-6)


def test_scaled_gram_leaves_missing_out() -> None:
    """A prompt that was not scored does not move the z-scores of the others."""
    case = make(7, 1, 5, [30, 40])
    case.prefixed[0, 4] = np.nan
    without = Case(case.default, case.prefixed[:, :4], case.row_size).statistics()
    with_it = case.statistics()
    np.testing.assert_allclose(with_it.gram_scaled[0, :4, :4], without.gram_scaled[0], rtol=1e-12)
    assert (with_it.gram_scaled[0, 4] == 0).all()
    assert np.isnan(with_it.means["mean_abs"][0, 4])
    assert np.isnan(with_it.w[0, 4]).all()
    assert with_it.count[0, 4] == 0


@pytest.mark.parametrize("engine", ["numpy", "jax"])
@pytest.mark.parametrize("products", [(), ("gram",), ("gram_scaled",)])
def test_products_are_made_where_asked_for(engine: str, products: tuple[str, ...]) -> None:
    case = make(8, 2, 4, [30, 40], missing=0.1)
    whole, some = case.statistics(engine=engine), case.statistics(engine=engine, products=products)
    for name in PRODUCTS:
        found = getattr(some, name)
        assert (found is None) == (name not in products)
        if found is not None:
            np.testing.assert_array_equal(found, getattr(whole, name))
    np.testing.assert_array_equal(some.w, whole.w)


@settings(deadline=None, max_examples=40)
@given(cases(), st.data())
def test_any_partition_in_any_order(case: Case, data: st.DataObject) -> None:
    n = case.default.size
    cuts = sorted(data.draw(st.sets(st.integers(0, n), max_size=8)) | {0, n})
    spans = list(pairwise(cuts))
    stdlib_random.Random(data.draw(st.integers(0, 99))).shuffle(spans)
    sizes = case.row_size.astype(np.int64)

    def state(a: int, b: int) -> TokenSums:
        return token_sums(case.default, case.prefixed, sizes, a, b, NumpyEngine(), TERMS, PRODUCTS, workers=2)

    merged = state(*spans[0])
    for span in spans[1:]:
        merged.merge(state(*span))
    whole = state(0, n)
    for field in fields(TokenSums):
        one, other = getattr(merged, field.name), getattr(whole, field.name)
        if one.dtype.kind == "i":
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        else:
            scale = float(np.abs(other).max(initial=1.0))
            exact = field.name in ("products", "example_sum")
            np.testing.assert_allclose(one, other, atol=(1e-12 if exact else 1e-6) * scale, err_msg=field.name)


@settings(deadline=None, max_examples=30)
@given(cases(), st.integers(0, 99))
def test_order_of_examples_does_not_matter(case: Case, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(case.row_size))
    ends = np.cumsum(case.row_size)
    tokens = np.concatenate([np.arange(ends[k] - case.row_size[k], ends[k]) for k in order])
    moved = Case(case.default[tokens], case.prefixed[..., tokens], case.row_size[order])
    expected = as_dict(case.statistics())
    expected["w"] = expected["w"][..., order]
    assert_same(moved.statistics(), expected)


@pytest.mark.parametrize("missing", [0.0, 0.05])
def test_streaming_from_zarr_equals_memory(tmp_path: Path, missing: float) -> None:
    """A store read in small pieces, of both passes, with chunks smaller and larger than a piece."""
    case = make(8, 2, 3, [3, 200, 57, 1, 90] * 3, missing=missing)
    expected = as_dict(case.statistics(engine="numpy"))
    for chunk in (64, 4096):
        stored = zarr.create_array(
            tmp_path / f"{chunk}", shape=case.prefixed.shape, dtype="float32", chunks=(1, 1, chunk)
        )
        stored[:] = case.prefixed
        for memory in (1 << 12, 1 << 14, 1 << 30):
            streamed = Case(case.default, stored, case.row_size)  # type: ignore[arg-type]
            assert_same(streamed.statistics(engine="numpy", memory=memory, workers=2), expected)


def test_examples_without_tokens() -> None:
    case = make(9, 1, 2, [4, 0, 7, 0])
    got = case.statistics()
    assert np.isnan(got.w[..., [1, 3]]).all()
    np.testing.assert_allclose(got.w[..., 2], case.delta[..., 4:].mean(axis=-1), rtol=1e-6)


@pytest.mark.parametrize(("prompts", "sizes"), [(0, [3, 4]), (2, [])])
def test_nothing_to_do(prompts: int, sizes: list[int]) -> None:
    got = make(10, 2, prompts, sizes).statistics()
    assert got.w.shape == (2, prompts, len(sizes))
    assert np.isnan(got.means["mean_abs"]).all()
    assert (got.count == sum(sizes)).all()


def test_published_spectrum_of_constant_rows() -> None:
    """A prompt that shifts every token alike has energy but no variance beyond rounding."""
    rng = np.random.default_rng(0)
    default = -rng.exponential(1, 40).astype(np.float32)
    case = Case(default, (default - np.float32(0.25))[None, None], np.array([20, 20]))
    assert case.statistics().rows["coherence"][0, 0] == pytest.approx(1, abs=1e-6)
    published = case.statistics(recipe="published").rows
    assert np.isnan(published["coherence"]).all()
    assert np.isnan(published["effective_rank"]).all()


def test_only_what_is_asked_for() -> None:
    case = make(12, 1, 2, [40] * 30)
    everything = case.statistics()
    some = case.statistics(terms=TERMS[2:4], row_terms=ROW_TERMS[:1])
    assert list(some.means) == [term.name for term in TERMS[2:4]]
    assert list(some.rows) == [ROW_TERMS[0].name]
    for name, values in (some.means | some.rows).items():
        np.testing.assert_array_equal(values, as_dict(everything)[name])


def test_long_examples_use_the_first_512_positions() -> None:
    case = make(13, 1, 1, [800] * 12 + [30] * 4)
    matrix = np.nan_to_num(peer.padded(case.delta[0, 0].astype(np.float64), case.row_size, 800))[:, :512]
    share, rank = peer.spectrum(matrix)
    got = case.statistics().rows
    assert got["coherence"][0, 0] == pytest.approx(share, rel=1e-6)
    assert got["effective_rank"][0, 0] == rank
    published, published_rank = peer.published_spectrum(matrix)
    got = case.statistics(recipe="published").rows
    assert got["coherence"][0, 0] == pytest.approx(published, rel=1e-5)
    assert got["effective_rank"][0, 0] == published_rank


def test_more_examples_than_are_gathered_at_a_time() -> None:
    case = make(14, 1, 1, list(np.random.default_rng(0).integers(1, 6, 2500)))
    share, rank = peer.spectrum(np.nan_to_num(peer.padded(case.delta[0, 0], case.row_size, 5)))
    got = case.statistics().rows
    assert got["coherence"][0, 0] == pytest.approx(share, rel=1e-5)
    assert got["effective_rank"][0, 0] == rank


def test_workers_do_not_matter() -> None:
    case = make(15, 2, 30, [300, 20, 77] * 60)
    one, three = case.statistics(workers=1), case.statistics(workers=3)
    assert_same(three, as_dict(one), rtol=1e-12)


def test_bad_input() -> None:
    case = make(16, 1, 2, [3, 4])
    with pytest.raises(BadInput, match="row_size adds up to 6 tokens"):
        Case(case.default, case.prefixed, np.array([3, 3])).statistics()
    with pytest.raises(BadInput, match="default logprobs"):
        Case(case.default[:-1], case.prefixed, case.row_size).statistics()
    with pytest.raises(BadInput, match="2 prompts"):
        token_statistics(case.default, case.prefixed[:, :1], case.row_size, prefix_types=("fixed",), prompts=("a", "b"))
    with pytest.raises(BadInput, match="unknown engine 'torch'"):
        choose("torch")  # type: ignore[arg-type]


def test_inputs_are_not_changed() -> None:
    case = make(17, 1, 2, [30, 4], missing=0.2)
    before = case.default.copy(), case.prefixed.copy()
    case.statistics()
    np.testing.assert_array_equal(case.default, before[0])
    np.testing.assert_array_equal(case.prefixed, before[1])


def test_row_ranges_join(tmp_path: Path) -> None:
    """Rows counted across prefix types, read from a store in groups that straddle the boundary."""
    case = make(18, 2, 5, [12, 30, 8])
    stored = zarr.create_array(tmp_path / "z", shape=case.prefixed.shape, dtype="float32", chunks=(1, 1, 50))
    stored[:] = case.prefixed
    sizes = case.row_size.astype(np.int64)
    whole = row_values(case.rows(), 0, 10, ROW_TERMS, "corrected")
    rows = Case(case.default, stored, sizes).rows()  # type: ignore[arg-type]
    parts = [row_values(rows, a, b, ROW_TERMS, "corrected") for a, b in ((0, 3), (3, 9), (9, 10))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    sums = token_sums(case.default, stored, sizes, 0, 50, NumpyEngine(), TERMS, PRODUCTS)
    joined = finalize(sums, whole, sizes, ("fixed", "mix"), tuple("abcde"), TERMS, ROW_TERMS, PRODUCTS)
    assert_same(case.statistics(), as_dict(joined))


def test_rows_are_a_stream_with_layout() -> None:
    case = make(20, 2, 3, [4, 0, 3], missing=0.2)
    assert case.rows().layout.position.tolist() == [0, 1, 2, 3, 0, 1, 2]
    for _ in range(2):  # every iteration reads again
        seen = list(case.rows())
        assert [(row.prefix_type, row.prompt) for row in seen] == [
            (kind, f"p{p}") for kind in ("fixed", "mix") for p in range(3)
        ]
        np.testing.assert_array_equal(np.stack([row.delta for row in seen]), case.delta.reshape(6, 7))
    assert seen[0].layout.example.tolist() == [0, 0, 0, 0, 2, 2, 2]


@pytest.mark.reference
@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_published_numbers(reference: Path, engine: str) -> None:
    values = json.loads((reference / "token_logprobs" / "golden.json").read_text())["values"]
    raw = json.loads((reference / "token_logprobs" / "logprobs_by_token.json").read_text())
    default = raw["baseline"]["lp_train_default_tokens"]
    rows = [np.concatenate(raw["prompts"][p]["lp_train_inoc_tokens"]) for p in values]
    case = Case(
        np.concatenate(default).astype(np.float32),
        np.array(rows, dtype=np.float32)[None],
        np.array([len(x) for x in default]),
    )
    got = as_dict(case.statistics(engine=engine, recipe="published"))
    derived = {
        "residual": tokenwise.residual(got["mean_abs"], got["loss_decay"]),
        "persistent": tokenwise.persistent(got["moved"], got["reached"]),
        "recovered": tokenwise.recovered(got["recovered"], got["rare"]),
        "recovered_of_all": tokenwise.recovered_of_all(got["recovered"], got["count"]),
        "n_positions_usable": (got["reached"] >= tokenwise.MIN_EXAMPLES).sum(-1),
    }
    got |= derived
    for field, golden in {
        "mean_abs": "h11_mean_abs_diff",
        "mean_square": "h13_mean_sq_diff",
        "mean_signed": "h14_mean_signed_tok_diff",
        "filtered": "ha2_filter",
        "gradient": "ha4_grad_mag",
        "filtered_gradient": "ha5_filter_grad",
        "coherence": "hb1_pc1_var_frac",
        "loss_decay": "hb2_sim_loss_decay",
        "persistent": "hb3_persistent_loss_frac",
        "effective_rank": "hb5_effective_rank",
        "residual": "hb6_sim_residual",
        "recovered": "_recovered_cond",
        "recovered_of_all": "token_recovered_frac",
        "count": "_n_tok",
        "n_positions_usable": "_n_usable",
    }.items():
        expected = [values[p][golden] for p in values]
        np.testing.assert_allclose(got[field][0], expected, rtol=1e-5, atol=1e-7, err_msg=field)
    np.testing.assert_allclose(got["w"][0].mean(axis=1), [values[p]["_ph_tokmean"] for p in values], rtol=1e-6)


@pytest.mark.parametrize(("tasks", "missing"), [(1, 0.0), (3, 0.1), (8, 0.1)])
def test_map_reduce_over_dask_tasks(tmp_path: Path, tasks: int, missing: float) -> None:
    dask = pytest.importorskip("dask")
    from inoc.heuristics.tokens.distributed import map_reduce

    case = make(19, 2, 3, [30, 7, 120, 1] * 8, missing=missing)
    stored = zarr.create_array(tmp_path / "z", shape=case.prefixed.shape, dtype="float32", chunks=(1, 1, 500))
    stored[:] = case.prefixed
    with dask.config.set(scheduler="threads", num_workers=2):
        got = map_reduce(
            case.default,
            stored,
            case.row_size,
            prefix_types=("fixed", "mix"),
            prompts=("p0", "p1", "p2"),
            terms=TERMS,
            row_terms=ROW_TERMS,
            tasks=tasks,
        )
    assert_same(got, as_dict(case.statistics()))


@pytest.mark.parametrize("pieces", [1, 254, 255, 256, 700])
def test_positions_are_counted_in_any_number_of_pieces(pieces: int) -> None:
    random = np.random.default_rng(pieces)
    size = random.integers(1, 5, pieces)
    stop = np.cumsum(size)
    start, position = stop - size, random.integers(0, 3, pieces)
    mask = random.random((3, int(stop[-1]))) < 0.6
    mask[0] = True
    found, wanted = np.ones((3, 8), np.int32), np.ones((3, 8), np.int64)
    count_positions(found, mask, start, stop, position)
    for a, b, at in zip(start, stop, position, strict=True):
        for token in range(a, b):
            wanted[:, at + token - a] += mask[:, token]
    assert found.tolist() == wanted.tolist()


def test_a_token_on_the_threshold_is_not_beyond_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strict: a difference of exactly 0.1 does not move, p of exactly the limit is neither rare nor recovered."""
    monkeypatch.setattr(sums, "RARE_LOGPROB", -1.0)
    tenth = np.float32(0.1)
    default = np.array([-1.0, -1.0, -1.5, -1.5, 0.0, 0.0], np.float32)
    prefixed = np.array([[[-0.5, -0.5, -1.0, -0.99, -tenth, -2 * tenth]]], np.float32)
    got = Case(default, prefixed, np.full(6, 1)).statistics(workers=1)
    assert (int(got.rare[0, 0]), int(got.recovered[0, 0])) == (2, 1)
    assert int(got.moved[0, 0, 0]) == 5


def test_threads_are_as_many_as_fit_in_memory(monkeypatch):
    monkeypatch.setattr(one_pass.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [one_pass._workers(100, each) for each in (0, 1, 30, 101)] == [8, 8, 3, 1]
