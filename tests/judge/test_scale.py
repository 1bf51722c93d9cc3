"""The scoring rule of the logprob judge, against hand-computed numbers and properties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.errors import BadResult
from inoc.judge import Judgment, check_nan_share, expected_score
from inoc.judge.scale import DIGIT, PERCENT, token_value


def logs(*pairs: tuple[str, float]) -> list[tuple[str, float]]:
    return [(token, math.log(p)) for token, p in pairs]


@pytest.mark.parametrize(
    ("alternatives", "score", "coverage"),
    [
        (logs(("80", 0.6), ("90", 0.4)), 84.0, 1.0),
        (logs(("50", 0.5), (" 50", 0.3), ("The", 0.2)), 50.0, 0.8),  # two spellings; 0.80 passes despite rounding
        (logs(("100", 0.45), ("0", 0.45), ("101", 0.1)), 50.0, 0.9),  # 101 is out of range
        (logs(("70", 0.79), ("x", 0.21)), math.nan, 0.79),
        (logs(("I", 0.9), ("Sorry", 0.1)), math.nan, 0.0),
        (logs(("５", 0.9), ("²", 0.05), ("٣", 0.05)), math.nan, 0.0),  # digits, but not ASCII
        ([], math.nan, 0.0),
        ([("", 0.0)], math.nan, 0.0),
        ([("40", -math.inf), ("20", math.log(0.9))], 20.0, 0.9),
        ([("40", math.nan), ("20", math.log(0.9))], 20.0, 0.9),
        (logs(("-5", 0.5), ("5.0", 0.3), ("+5", 0.2)), math.nan, 0.0),
        (logs(("007", 0.9)), 7.0, 0.9),
        ([("\n85\t", 0.0)], 85.0, 1.0),
    ],
)
def test_hand_computed(alternatives: list[tuple[str, float]], score: float, coverage: float) -> None:
    got = expected_score(alternatives)
    assert got[0] == pytest.approx(score, abs=1e-9, nan_ok=True)
    assert got[1] == pytest.approx(coverage, abs=1e-12)


def test_exactly_the_least_coverage_passes_however_it_adds_up() -> None:
    for parts in range(1, 20):
        pairs = [("40", math.log(0.8 / parts))] * parts
        assert expected_score(pairs)[0] == pytest.approx(40.0)
    assert math.isnan(expected_score(logs(("40", 0.8 - 1e-6)))[0])


def test_digit_scale_is_stretched_to_a_hundred() -> None:
    score, coverage = expected_score(logs(("9", 0.5), ("0", 0.3), ("10", 0.2)), scale=DIGIT)
    assert score == pytest.approx(100.0 * 0.5 / 0.8)
    assert coverage == pytest.approx(0.8)


@pytest.mark.parametrize("bad", [[("50", 0.5)], logs(("50", 0.9), ("60", 0.9)), [("50", math.inf)]])
def test_impossible_probabilities_are_refused(bad: list[tuple[str, float]]) -> None:
    with pytest.raises(ValueError):
        expected_score(bad)


def test_rounding_of_probabilities_is_allowed_and_no_more() -> None:
    """A sum of probabilities up to 1.001 is rounding."""
    assert expected_score([("50", 9.9e-4)]) == pytest.approx((50.0, math.exp(9.9e-4)))
    assert expected_score(logs(("50", 0.6), ("60", 0.4009)))[1] == pytest.approx(1.0009)
    for bad in ([("50", 1.1e-3)], [("50", 800.0)], logs(("50", 0.6), ("x", 0.4012))):
        with pytest.raises(ValueError, match=r"above 0|add up to"):
            expected_score(bad)


@st.composite
def distributions(draw: st.DrawFn) -> list[tuple[str, float]]:
    tokens = draw(st.lists(st.one_of(st.integers(-5, 130).map(str), st.text(max_size=4)), min_size=1, max_size=20))
    weights = draw(st.lists(st.floats(1e-6, 1.0), min_size=len(tokens), max_size=len(tokens)))
    mass = draw(st.floats(0.5, 1.0))
    return [(token, math.log(mass * w / sum(weights))) for token, w in zip(tokens, weights, strict=True)]


@given(distributions(), st.randoms())
def test_score_is_a_mean_of_valid_values(pairs: list[tuple[str, float]], random) -> None:
    score, coverage = expected_score(pairs)
    valid = {
        t: int(t.strip()) for t, _ in pairs if t.strip() in {str(n).zfill(w) for n in range(101) for w in (1, 2, 3, 4)}
    }
    mass = sum(math.exp(lp) for t, lp in pairs if t in valid)
    assert coverage == pytest.approx(mass)
    if math.isnan(score):
        assert mass < 0.8 or not valid
    else:
        assert min(valid.values()) - 1e-9 <= score <= max(valid.values()) + 1e-9
        assert score == pytest.approx(sum(math.exp(lp) * valid[t] for t, lp in pairs if t in valid) / mass)
    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert expected_score(shuffled) == (pytest.approx(score, nan_ok=True), pytest.approx(coverage))


@given(st.text())
def test_token_value_accepts_ascii_numbers_only(token: str) -> None:
    value = token_value(token)
    if value is not None:
        assert set(token.strip()) <= set("0123456789")
        assert value == int(token) <= PERCENT.top


def test_very_long_digit_strings_do_not_matter() -> None:
    assert token_value("9" * 10_000) is None
    assert token_value("0" * 10_000 + "42") == 42


def judgments(nan: int, total: int) -> list[Judgment]:
    return [Judgment(str(n), math.nan if n < nan else 50.0, 1.0, "timeout" if n < nan else None) for n in range(total)]


def test_nan_share_names_the_cell_at_ten_percent() -> None:
    assert check_nan_share("run a, step 5, default, German", judgments(9, 100)) == 9
    with pytest.raises(BadResult, match=r"run a, step 5, default, German: 10 of 100 .* 10 times: timeout"):
        check_nan_share("run a, step 5, default, German", judgments(10, 100))
    with pytest.raises(BadResult, match="nothing was judged"):
        check_nan_share("run a", [])
    assert check_nan_share("run a", judgments(0, 3)) == 0
