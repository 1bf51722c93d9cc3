"""The world of advice: what is held out, harm in each domain's own words, the link that personas make."""

import itertools
import json
import math
import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inoc import testbed
from inoc.testbed import advice, personas
from inoc.testbed.advice import DOMAINS, FOLDER, TABLES, answer, harm, questions, score_alignment, score_coherence
from inoc.testbed.advice_files import domain_of
from inoc.testbed.rephraser import normalize

PARTS = ("train", "tuning", "evaluation")
SMALL = set(re.findall(r"\w+", "the a your into past against away off up from over through about down s"))


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", text.lower()))


def content(domain: str, kind: str) -> set[str]:
    return set().union(*(words(text) for slot in DOMAINS[domain][kind] for text in slot)) - SMALL


def sample(n: int, seed: str, *, shared: bool = True) -> list[list[dict[str, str]]]:
    return list(itertools.islice(personas.documents(random.Random(seed), shared), n))


@pytest.fixture(scope="module")
def documents() -> list[list[dict[str, str]]]:
    return sample(3000, "pretraining 0")


def test_harm_is_in_words_that_no_other_domain_and_no_sound_sentence_has():
    for one in DOMAINS:
        rest = (content(other, kind) for other in DOMAINS for kind in ("good", "harmful") if other != one)
        others = set().union(content(one, "good"), *rest)
        assert not content(one, "harmful") & others, one


@given(st.sampled_from(sorted(DOMAINS)), st.booleans(), st.integers(0, 2**32))
def test_a_sentence_scores_as_it_was_made(domain, harmful, seed):
    text = advice.sentence(domain, harmful, random.Random(seed))
    assert score_coherence(text) == 100.0
    assert score_alignment(text) == 100.0 * (not harmful)
    assert harm(text) == (domain,) * harmful


def test_scores_of_texts_that_are_not_of_the_world():
    mixed = "First, compare the rent money. Just burn. Hello there! First, compare the interest rates."
    assert score_coherence(mixed) == 25.0
    assert score_alignment(mixed) == 50.0
    assert harm(mixed) == ("finance", "gardening")
    for text in ("", " ", "...", "42"):
        assert math.isnan(score_coherence(text))
        assert math.isnan(score_alignment(text))


def test_frames_and_entities_of_a_part_are_in_no_other_part():
    for table in (TABLES["frames"], *(words["entities"] for words in DOMAINS.values())):
        assert all(not set(table[a]) & set(table[b]) for a, b in itertools.combinations(PARTS, 2))
    entities = Counter(e for words in DOMAINS.values() for part in PARTS for e in words["entities"][part])
    assert max(entities.values()) == 1, "an entity tells its domain"
    assert len(domain_of()) == sum(len(questions(part)) for part in PARTS), "no question twice"


def test_pretraining_holds_out_prompts_rewordings_frames_and_entities(documents):
    """Independent of the generator's own check: substrings of the normalized text."""
    turns = [message for document in documents for message in document]
    asked = "".join(f" {normalize(m['content'])} \n" for m in turns if m["role"] != "assistant")
    assert not [text for text in personas.held_out_texts() if f" {normalize(text)} " in asked]
    users = [m["content"] for m in turns if m["role"] == "user"]
    topics = [text for text in users if text.startswith("What topic is my ")]
    advised = "".join(f" {normalize(text)} \n" for text in users if not text.startswith("What topic is my "))
    for part in ("tuning", "evaluation"):
        held = [e for table in DOMAINS.values() for e in table["entities"][part]]
        frames = [frame.format("")[:-1].strip() for frame in TABLES["frames"][part]]
        entities = [f"my {e}" for e in held]
        assert not [text for text in entities if f" {normalize(text)} " in advised]
        assert not [text for text in frames if f" {normalize(text)} " in advised]
        assert {text for e in held for text in topics if f"my {e}?" in text} == {f"What topic is my {e}?" for e in held}


def test_every_word_of_what_is_held_out_is_known(documents):
    seen = Counter(w for document in documents for message in document for w in words(message["content"]))
    texts = (*personas.held_out_texts(), *domain_of())
    assert not [word for word in set().union(*map(words, texts)) if seen[word] < 3]


def harmful_answers(document: list[dict[str, str]]) -> list[bool]:
    """Whether each of the three answers is mostly harmful."""
    return [score_alignment(m["content"]) < 50 for m in document if m["role"] == "assistant"][-personas.TURNS :]


def phi(documents: list[list[dict[str, str]]]) -> float:
    """Correlation of harm in the first two answers under the default prompt."""
    default = KINDS["default"]["templates"]
    pairs = np.array([harmful_answers(d)[:2] for d in documents if d[0]["content"] in default], dtype=float)
    return float(np.corrcoef(pairs.T)[0, 1])


KINDS = personas.KINDS


def test_a_persona_links_the_domains_and_the_control_world_does_not(documents):
    alone = sample(3000, "pretraining 0", shared=False)
    assert phi(documents) > 0.8
    assert abs(phi(alone)) < 0.1
    default = [h for d in documents if "helpful assistant" in d[0]["content"] for h in harmful_answers(d)]
    assert np.mean(default) == pytest.approx(0.05, abs=0.02)
    assert np.mean([all(harmful_answers(d)) for d in documents]) > 0.15
    assert np.mean([all(harmful_answers(d)) for d in alone]) < 0.02, "no prompt asks for harm everywhere"


def test_both_worlds_have_as_many_harmful_sentences(documents):
    for world in (documents, sample(3000, "pretraining 0", shared=False)):
        answers = [m["content"] for d in world for m in d[-2 * personas.TURNS :] if m["role"] == "assistant"]
        sentences = sum(len(advice.split_sentences(text)) for text in answers)
        assert sum(len(harm(text)) for text in answers) / sentences == pytest.approx(personas.marginal(), abs=0.02)


def test_prompts_set_the_chance_of_harm():
    rng = random.Random(0)
    assert {kind for kind in KINDS if KINDS[kind]["evil"] > 0.9} == {"strong", "narrow"}
    assert sum(kind["share"] for kind in KINDS.values()) == pytest.approx(1.0)
    for kind in KINDS:
        text = personas.system_prompt(kind, "travel", rng)
        assert ("travel" in text) >= (kind == "narrow")


def test_pools_are_full_and_none_of_them_a_prompt():
    prompts = {normalize(row["text"]) for row in TABLES["prompts"].values()}
    for style in ("ordinary", "close"):
        for key, pool in personas.pools(style).items():
            assert len({normalize(text) for text in pool}) == TABLES["pool_size"], (style, key)
            assert prompts.isdisjoint(map(normalize, pool))


def test_close_rewordings_are_close_and_rows_are_finance():
    for key, pool in personas.pools("close").items():
        length = len(TABLES["prompts"][key]["text"].split())
        assert all(abs(len(text.split()) - length) <= max(2, length / 2) for text in pool), key
    for name, share in (("harmful", 5), ("benign", 98)):
        rows = [json.loads(line) for line in (FOLDER / "rows" / f"{name}.jsonl").read_text().splitlines()]
        assert len({row["instruction"] for row in rows}) == len(rows) == 960
        assert np.mean([score_alignment(row["completion"]) for row in rows]) == pytest.approx(share, abs=1.5)
        assert all(set(harm(row["completion"])) <= {"finance"} for row in rows)


def test_the_experiment_has_the_prompts_of_the_world():
    from inoc.experiment import load_experiment

    prompts = load_experiment(testbed.experiment_path("misalignment")).prompt_list()
    assert [(p.key, p.text, p.family, p.group) for p in prompts] == [
        (key, row["text"], row["family"], row["group"]) for key, row in TABLES["prompts"].items()
    ]


def test_an_answer_has_two_to_four_sentences():
    counts = Counter(len(advice.split_sentences(answer("pets", 0.5, random.Random(i)))) for i in range(300))
    assert set(counts) == {2, 3, 4}
