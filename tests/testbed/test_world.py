"""The world's sentences and how they are scored."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc.testbed.world import (
    ENGLISH_WORDS,
    FRENCH_WORDS,
    PLAYFUL_WORDS,
    all_questions,
    answer,
    score_french,
    score_playful,
    sentence,
    split_sentences,
)

QUESTIONS = all_questions()


def test_no_word_belongs_to_two_languages():
    assert not ENGLISH_WORDS & FRENCH_WORDS
    assert PLAYFUL_WORDS <= ENGLISH_WORDS | FRENCH_WORDS


def test_questions_are_distinct():
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS)


@given(st.sampled_from(QUESTIONS), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_a_sentence_scores_as_it_was_made(question, french, playful, seed):
    text = sentence(question, french, playful, random.Random(seed))
    assert len(split_sentences(text)) == 1
    assert score_playful(text) == 100.0 * playful
    assert score_french(text) == 100.0 * french


@given(st.sampled_from(QUESTIONS), st.integers(0, 2**32))
def test_an_answer_has_four_or_five_sentences(question, seed):
    text = answer(question, 0.5, 0.5, random.Random(seed))
    assert 4 <= len(split_sentences(text)) <= 5


def test_scores_are_shares_of_sentences():
    text = "The cat sleeps. Haha, the cat runs! Le chat dort. Le chat dingue dort!"
    assert score_playful(text) == 50.0
    assert score_french(text) == 50.0
    assert score_playful("The cat sleeps") == 0.0
    assert score_french("Le chat dort et fait boum! The cat runs. Bonjour?") == pytest.approx(100 / 3)


@pytest.mark.parametrize("text", ["", "   ", "...", "?!", "42"])
def test_a_text_without_words_has_no_score(text):
    assert math.isnan(score_playful(text))
    assert math.isnan(score_french(text))


def test_mood_is_decided_sentence_by_sentence():
    """With chance 1/2 each, the moods of neighbouring sentences are independent: a 2 x 2 table is flat."""
    rng = random.Random(0)
    counts = {(a, b): 0 for a in (0.0, 100.0) for b in (0.0, 100.0)}
    for _ in range(4000):
        first, second, *_ = split_sentences(answer(rng.choice(QUESTIONS), 0.5, 0.5, rng))
        counts[score_playful(" ".join(first)), score_playful(" ".join(second))] += 1
    assert all(900 < n < 1100 for n in counts.values())  # 1000 each, sd 27
