"""The bare token formulas: hand-computed cases, properties, and the published numbers of real logprobs."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import TruncatedSVD

from inoc.heuristics.maths import tokenwise
from inoc.heuristics.maths.position_spectrum import (
    energy_shares,
    leading_shares,
    position_matrix,
    position_shares,
    position_sums,
)
from inoc.heuristics.tokens.layout import token_positions

DELTA = np.array([-2.0, 0.25, 0.5, 0.75, np.nan, 0.0, 1.0, np.inf])  # six finite tokens


def abs_minus_signed(delta: np.ndarray) -> np.ndarray:
    return tokenwise.abs_minus_signed(tokenwise.mean_abs(delta), tokenwise.mean_signed(delta))


def residual(delta: np.ndarray) -> np.ndarray:
    return tokenwise.residual(tokenwise.mean_abs(delta), tokenwise.loss_decay(delta))


def top_quarter(delta: np.ndarray) -> np.ndarray:
    return np.apply_along_axis(tokenwise.top_quarter, -1, delta)


def persistent(delta: np.ndarray, row_size: np.ndarray) -> np.ndarray:
    return tokenwise.persistent(*tokenwise.position_counts(delta, row_size))


def recovered(default: np.ndarray, prefixed: np.ndarray) -> np.ndarray:
    won, rare, _ = tokenwise.recovered_counts(default, prefixed)
    return tokenwise.recovered(won, rare)


def recovered_of_all(default: np.ndarray, prefixed: np.ndarray) -> np.ndarray:
    won, _, every = tokenwise.recovered_counts(default, prefixed)
    return tokenwise.recovered_of_all(won, every)


def coherence(matrix: np.ndarray, recipe: str = "corrected") -> float:
    return tokenwise.coherence(energy_shares(matrix, recipe))


def effective_rank(matrix: np.ndarray, recipe: str = "corrected") -> float:
    return tokenwise.effective_rank(energy_shares(matrix, recipe))


deltas = arrays(np.float64, st.integers(1, 40), elements=st.floats(-30, 30))


@dataclass(frozen=True)
class Published:
    default: np.ndarray
    prefixed: np.ndarray
    row_size: np.ndarray
    prompts: tuple[str, ...]
    values: dict[str, dict[str, float]]

    @property
    def delta(self) -> np.ndarray:
        """float32 differences of float32 logprobs: thresholds at 0.5 depend on that."""
        return self.prefixed.astype(np.float32) - self.default.astype(np.float32)

    def column(self, name: str) -> np.ndarray:
        return np.array([self.values[prompt][name] for prompt in self.prompts])


@pytest.fixture(scope="module")
def published(reference: Path) -> Published:
    values = json.loads((reference / "token_logprobs" / "golden.json").read_text())["values"]
    raw = json.loads((reference / "token_logprobs" / "logprobs_by_token.json").read_text())
    default = raw["baseline"]["lp_train_default_tokens"]
    rows = [np.concatenate(raw["prompts"][p]["lp_train_inoc_tokens"]) for p in values]
    return Published(
        np.concatenate(default), np.array(rows), np.array([len(x) for x in default]), tuple(values), values
    )


def tie_bounds(row: np.ndarray) -> tuple[float, float]:
    """Smallest and largest top-quarter mean over all ways to pick among tokens tied at the boundary."""
    size, n = np.abs(row), max(1, len(row) // 4)
    boundary = np.sort(size)[-n]
    tied, rest = np.sort(row[size == boundary]), n - int((size > boundary).sum())
    total = row[size > boundary].sum()
    return (total + tied[:rest].sum()) / n, (total + tied[len(tied) - rest :].sum()) / n


@pytest.mark.reference
class TestPublishedNumbers:
    """Numbers recomputed by others from the same logprobs; theirs are float32 for HA and HB."""

    @pytest.mark.parametrize(
        ("function", "golden"),
        [
            (tokenwise.filtered, "ha2_filter"),
            (tokenwise.gradient, "ha4_grad_mag"),
            (tokenwise.filtered_gradient, "ha5_filter_grad"),
            (tokenwise.loss_decay, "hb2_sim_loss_decay"),
            (residual, "hb6_sim_residual"),
        ],
    )
    def test_ha_and_hb(self, published: Published, function, golden: str) -> None:
        np.testing.assert_allclose(function(published.delta), published.column(golden), rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize(
        ("function", "golden"),
        [
            (tokenwise.mean_abs, "h11_mean_abs_diff"),
            (abs_minus_signed, "h12_abs_minus_signed"),
            (tokenwise.mean_square, "h13_mean_sq_diff"),
            (tokenwise.mean_signed, "h14_mean_signed_tok_diff"),
        ],
    )
    def test_float64_formulas(self, published: Published, function, golden: str) -> None:
        delta = published.prefixed - published.default
        np.testing.assert_allclose(function(delta), published.column(golden), rtol=1e-9)

    def test_top_quarter(self, published: Published) -> None:
        """Published picks arbitrary tokens among ties: both numbers lie between the extreme picks."""
        delta = published.delta.astype(np.float64)
        for row, golden in zip(delta, published.column("ha3_topk"), strict=True):
            low, high = tie_bounds(row)
            assert low - 1e-7 <= golden <= high + 1e-7
            assert low - 1e-12 <= float(top_quarter(row)) <= high + 1e-12
            assert high - low < 0.02

    def test_positions(self, published: Published) -> None:
        share = persistent(published.delta, published.row_size)
        np.testing.assert_allclose(share, published.column("hb3_persistent_loss_frac"), rtol=1e-12)

    def test_spectrum(self, published: Published) -> None:
        matrices = [position_matrix(row, published.row_size) for row in published.delta]
        leading = [coherence(m, "published") for m in matrices]
        np.testing.assert_allclose(leading, published.column("hb1_pc1_var_frac"), rtol=1e-5)
        ranks = [effective_rank(m, "published") for m in matrices]
        assert ranks == published.column("hb5_effective_rank").tolist()
        first = np.array([published.values[p]["_evr0_5"] for p in published.prompts])
        np.testing.assert_allclose(
            [energy_shares(m, "published")[: first.shape[1]] for m in matrices], first, rtol=1e-5
        )

    def test_recovered(self, published: Published) -> None:
        sides = published.default, published.prefixed
        np.testing.assert_allclose(recovered(*sides), published.column("_recovered_cond"), rtol=1e-12)
        np.testing.assert_allclose(recovered_of_all(*sides), published.column("token_recovered_frac"), rtol=1e-12)


def test_by_hand() -> None:
    assert float(tokenwise.mean_abs(DELTA)) == 4.5 / 6
    assert float(tokenwise.mean_signed(DELTA)) == 0.5 / 6
    assert float(tokenwise.mean_square(DELTA)) == (4 + 0.0625 + 0.25 + 0.5625 + 1) / 6
    assert float(tokenwise.filtered(DELTA)) == (-2 + 0.75 + 1) / 6  # 0.5 itself is not above 0.5
    assert float(top_quarter(DELTA)) == -2.0  # floor(0.25 * 6) = 1
    expected = (1 - np.exp(-2) + 1 - np.exp(-0.75) + 1 - np.exp(-1)) / 6
    assert float(tokenwise.filtered_gradient(DELTA)) == pytest.approx(expected, rel=1e-15)


def test_prompt_axis_and_nothing_left() -> None:
    both = np.stack([DELTA, np.full_like(DELTA, np.nan)])
    for function in (
        tokenwise.mean_abs,
        tokenwise.mean_signed,
        tokenwise.mean_square,
        tokenwise.filtered,
        top_quarter,
        tokenwise.gradient,
        tokenwise.filtered_gradient,
        tokenwise.loss_decay,
        residual,
    ):
        got = function(both)
        assert got.shape == (2,)
        assert got[0] == float(function(DELTA))
        assert np.isnan(got[1])


def test_top_quarter_shares_ties() -> None:
    """Of 8 tokens 2 count; three are tied at 1, with mean 1/3: order cannot matter."""
    row = np.array([1.0, -1.0, 3.0, 1.0, 0.1, 0.1, 0.1, 0.1])
    for shift in range(8):
        assert float(top_quarter(np.roll(row, shift))) == pytest.approx((3 + 1 / 3) / 2, rel=1e-15)


@given(deltas)
def test_decay_identity(delta: np.ndarray) -> None:
    left = np.mean(tokenwise.simulate_decay(np.abs(delta))[1])
    np.testing.assert_allclose(residual(delta), left, rtol=1e-9, atol=1e-12)


@given(deltas)
def test_bounds(delta: np.ndarray) -> None:
    assert 0 <= tokenwise.filtered_gradient(delta) <= tokenwise.gradient(delta) < 1
    assert abs(tokenwise.mean_signed(delta)) <= tokenwise.mean_abs(delta) + 1e-12
    assert tokenwise.mean_abs(delta) ** 2 <= tokenwise.mean_square(delta) + 1e-9
    assert abs(top_quarter(delta)) >= 0
    assert 0 <= residual(delta) <= tokenwise.mean_abs(delta)


@given(deltas, st.randoms(use_true_random=False))
def test_order_of_tokens_does_not_matter(delta: np.ndarray, random) -> None:
    shuffled = delta.copy()
    random.shuffle(shuffled)
    for function in (top_quarter, tokenwise.filtered, tokenwise.gradient, tokenwise.loss_decay):
        np.testing.assert_allclose(function(shuffled), function(delta), rtol=1e-9, atol=1e-12)


def test_polynomial_is_the_recursion() -> None:
    size = np.concatenate([np.linspace(0, 40, 4001), [1e-12, 1e-7, 700.0]])
    decay = np.exp(-size)
    polynomial = np.polynomial.Polynomial(tokenwise.decay_polynomial())(decay) * (1 - decay)
    np.testing.assert_allclose(polynomial, tokenwise.simulate_decay(size)[0], atol=1e-6)
    assert polynomial[0] == 0


def test_persistent_by_hand() -> None:
    """Ten examples reach position 0, six of them moved; nine reach position 1: not usable."""
    row_size = np.array([2] * 9 + [1])
    delta = np.zeros(19)
    delta[[0, 2, 4, 6, 8, 18]] = 0.11
    assert float(persistent(delta, row_size)) == 1.0
    delta[[0, 2]] = 0.1  # four of ten left; 0.1 is not above 0.1
    assert float(persistent(delta, row_size)) == 0.0
    delta[18] = np.nan  # nine valid examples: nothing usable
    assert np.isnan(persistent(delta, row_size))


@given(st.integers(3, 30), st.integers(2, 20), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.7, 3.0]))
def test_published_shares_are_sklearns(examples: int, positions: int, seed: int, shift: float) -> None:
    """Our exact shares equal the randomized solver's where it computes every direction of a small matrix."""
    x = np.random.default_rng(seed).standard_normal((examples, positions)) + shift
    n = min(200, examples - 1, positions)
    model = TruncatedSVD(n, random_state=42).fit(x)
    np.testing.assert_allclose(energy_shares(x, "published"), model.explained_variance_ratio_, atol=1e-6)


def test_spectrum_edges() -> None:
    nothing = np.zeros((4, 3))
    assert np.isnan(coherence(nothing))
    assert np.isnan(effective_rank(nothing))
    one = np.array([[1.0, 2.0]])
    assert coherence(one) == 1.0
    assert np.isnan(coherence(one, "published"))  # one example has no variance
    for level in (1.0, -1.0, 1e3):  # constant columns have no variance
        assert np.isnan(energy_shares(np.full((4, 3), level), "published")).all()
    assert effective_rank(np.eye(4)) == 2.0  # shares of exactly one quarter


def test_recovered_by_hand() -> None:
    default = np.log([0.05, 0.05, 0.5, 0.01, 0.09])
    prefixed = np.log(np.array([[0.2, 0.09, 0.9, np.nan, 0.11]]))
    np.testing.assert_array_equal(recovered(default, prefixed), [2 / 3])
    np.testing.assert_array_equal(recovered_of_all(default, prefixed), [2 / 4])


@pytest.mark.parametrize("flat", [False, True])
def test_leading_share_is_exact(flat: bool) -> None:
    """From a Gram matrix in float32, and yet as exact as a singular value decomposition in float64."""
    rng = np.random.default_rng(3)
    sizes = rng.integers(0, 700, 900)
    delta = rng.standard_t(3, sizes.sum()).astype(np.float32)
    if not flat:
        delta += np.exp(-token_positions(sizes) / 20).astype(np.float32)
    delta[::17] = np.nan
    sums = position_sums(delta, sizes, "corrected")
    expected = energy_shares(position_matrix(delta, sizes))
    np.testing.assert_allclose(leading_shares(sums, delta, sizes, "corrected"), expected[:1], rtol=1e-12)
    np.testing.assert_allclose(position_shares(sums, sizes, "corrected"), expected, atol=1e-6)
    assert leading_shares(position_sums(0 * delta, sizes, "corrected"), 0 * delta, sizes, "corrected").size == 0


@given(st.integers(1, 20_000), st.sampled_from([0.0, 0.01, 1.0]), st.integers(0, 99))
def test_rank_from_a_sample_is_the_rank(n: int, grain: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = np.abs(rng.standard_t(2, n)).astype(np.float32)
    size = np.sort(np.round(size / grain) * np.float32(grain) if grain else size)[:: rng.choice([-1, 1])]
    for rank in {1, max(1, n // 4), n}:
        assert tokenwise._largest(size, rank) == np.sort(size)[n - rank]


def test_exactly_the_limit_is_neither_rare_nor_recovered():
    edge = float(np.log(tokenwise.RARE))
    default = np.array([edge, edge - 1, edge - 1, edge - 1, np.nan, edge - 1])
    prefixed = np.array([[edge + 1, edge, edge + 0.1, np.nan, edge + 1, edge - 2]])
    won, rare, every = tokenwise.recovered_counts(default, prefixed)
    assert (won.tolist(), rare.tolist(), every.tolist()) == ([1], [3], [4])
