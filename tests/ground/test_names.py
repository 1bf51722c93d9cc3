"""Did you mean: the nearest known name, or the names there are."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inoc.names import LISTED, nearest, unknown

KNOWN = ("ph", "gamma", "sigma", "snr", "mean_abs", "trait_svd", "elicitation")
words = st.text("abcdefghij_", min_size=1, max_size=12)


@pytest.mark.parametrize("typo", ["gama", "gmma", "Gamma", "GAMMA", "gammma", "gamna"])
def test_a_slip_is_found(typo):
    assert nearest(typo, KNOWN) == "gamma"


@given(st.sets(words, min_size=1))
def test_a_known_name_is_its_own_nearest(known):
    for name in known:
        assert nearest(name, known) == name


@given(words, st.sets(words))
def test_what_is_suggested_is_known(name, known):
    assert nearest(name, known) in {None, *known}


@given(st.sets(words), words)
def test_nothing_alike_is_suggested_for_nothing(known, name):
    assume(not set(name) & set("xyz"))
    assert nearest("xyz", known) is None


def test_the_sentence():
    assert unknown("heuristic", "gama", KNOWN) == "unknown heuristic 'gama'. Fix: did you mean 'gamma'?"
    assert unknown("run", "x", ["a1", "b1"]) == "unknown run 'x'. Fix: use one of a1, b1."
    assert unknown("run", "x", []) == "unknown run 'x'. Fix: leave it out; there are none."


def test_a_long_list_is_cut():
    sentence = unknown("prompt", "?", [f"p{i}" for i in range(LISTED + 5)])
    assert sentence.endswith(f"p{LISTED - 1} and 5 more.")
    assert f"p{LISTED}," not in sentence


def test_one_pass_over_the_names_is_enough():
    assert "did you mean 'gamma'" in unknown("heuristic", "gama", (name for name in KNOWN))
