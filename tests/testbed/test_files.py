"""The shipped files: complete, disjoint, reproducible, and held out of pre-training."""

import itertools
import random
from collections import Counter
from pathlib import Path

import pytest

from inoc import testbed
from inoc.errors import BadInput
from inoc.testbed.files import DATA, POOL_SIZE, SIZES, held_out_texts, questions, write_files
from inoc.testbed.grammar import FRAMES, TEMPLATES, HeldOut, dialogues, neutral_words, prompt
from inoc.testbed.rephraser import CLOSINGS, OPENINGS, normalize, rephrase
from inoc.testbed.world import score_french, score_playful

PROMPTS = testbed.prompts()


def test_the_files_are_what_the_code_writes(tmp_path):
    write_files(tmp_path)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.jsonl"))
    assert written == sorted(path.relative_to(DATA) for path in DATA.rglob("*.jsonl"))
    for path in written:
        assert (tmp_path / path).read_bytes() == (DATA / path).read_bytes(), path


def test_the_package_data_are_small():
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 6e6


def test_prompts_cover_strong_weak_neutral_and_negated_for_both_traits():
    assert len(PROMPTS) >= 16
    assert len({p.key for p in PROMPTS}) == len({normalize(p.text) for p in PROMPTS}) == len(PROMPTS)
    cells = Counter((p.group, p.family) for p in PROMPTS)
    assert all(cells[group, family] >= 2 for group in ("strong", "weak", "negated") for family in ("playful", "french"))
    assert cells["neutral", "neutral"] >= 4
    role = {"french": "positive", "playful": "negative", "neutral": "neutral"}
    assert all(p.role == role[p.family] for p in PROMPTS)


@pytest.mark.parametrize("key", [p.key for p in PROMPTS])
def test_a_pool_has_200_rewordings_none_of_them_the_prompt(key):
    text = next(p.text for p in PROMPTS if p.key == key)
    pool = {normalize(row) for row in testbed.pool(key)}
    assert len(pool) == POOL_SIZE == 200
    assert normalize(text) not in pool
    assert pool.isdisjoint(normalize(p.text) for p in PROMPTS)


def test_pools_of_different_prompts_share_nothing():
    rows = Counter(normalize(row) for p in PROMPTS for row in testbed.pool(p.key))
    assert not [text for text, n in rows.items() if n > 1]


def test_splits_are_disjoint_and_sized():
    splits = {split: set(testbed.instructions(split)) for split in SIZES}
    assert {split: len(rows) for split, rows in splits.items()} == SIZES
    splits["pretraining"] = {question.text for question in questions("pretraining")}
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(splits.values(), 2))


@pytest.mark.parametrize(
    ("name", "french", "playful"), [("train", 97, 95), ("control", 2, 3), ("positive", 97, 3), ("negative", 2, 95)]
)
def test_completion_sets_show_their_traits(name, french, playful):
    rows = testbed.completions(name)
    assert len({instruction for instruction, _ in rows}) == len(rows) >= (900 if name == "train" else 200)
    assert sum(score_french(text) for _, text in rows) / len(rows) == pytest.approx(french, abs=2.5)
    assert sum(score_playful(text) for _, text in rows) / len(rows) == pytest.approx(playful, abs=2.5)


@pytest.mark.parametrize("seed", range(3))
def test_pretraining_never_contains_a_shipped_prompt_or_rephrasing(seed):
    """Independent of the generator's own check: padded substrings of the normalized text."""
    held_out = held_out_texts()
    stream = dialogues(questions("pretraining"), HeldOut(held_out), random.Random(f"pretraining {seed}"))
    turns = [text for d in itertools.islice(stream, 5_000) for text in (d.system or "", d.user)]
    text = "".join(f" {normalize(turn)} \n" for turn in turns)
    assert not [row for row in held_out if f" {normalize(row)} " in text]


def test_held_out_finds_runs_of_words():
    held_out = HeldOut(["Answer playfully.", "Be concise."])
    assert "Well, ANSWER, playfully! What?" in held_out
    assert "I say: be concise." in held_out
    assert "Answer me playfully." not in held_out
    assert "Be" not in held_out


def test_pretraining_rarely_needs_the_check():
    """The template sets differ: not one in fifty generated prompts has to be thrown away."""
    held_out, words, rng = HeldOut(held_out_texts()), neutral_words(), random.Random(0)
    assert sum(prompt(words, rng)[0] in held_out for _ in range(5_000)) < 100
    frames = {normalize(text) for table in (OPENINGS, CLOSINGS) for group in table.values() for text in group}
    assert (frames - {""}).isdisjoint(normalize(text) for text in FRAMES)
    templates = {normalize(text) for group in TEMPLATES.values() for text in group}
    assert templates.isdisjoint(normalize(text) for text in held_out_texts())


def test_rephrase_is_deterministic_and_seeded():
    assert rephrase("You like tea.", 20, seed=1) == rephrase("You like tea.", 20, seed=1)
    assert rephrase("You like tea.", 20, seed=1) != rephrase("You like tea.", 20, seed=2)
    assert rephrase("You like tea.", 5, seed=1) == rephrase("You like tea.", 20, seed=1)[:5]


def test_rephrase_of_foreign_text_and_of_nothing():
    rows = rephrase("Quarks decay.", 50)
    assert len(rows) == len(set(rows)) == 50
    assert all("quarks decay" in row.lower() for row in rows)
    assert rephrase("", 5) == rephrase("   ", 5) == rephrase("x", 0) == ()
    assert len(rephrase("Hm", 10_000)) < 10_000


def test_an_unknown_key_names_those_there_are():
    with pytest.raises(BadInput, match=r"unknown prompt 'nope'.*answer_playfully"):
        testbed.pool("nope")


def test_the_shipped_experiment_names_the_shipped_files():
    """The experiment file in the package is the example, and its prompts are those of prompts.json."""
    from inoc.experiment import load_experiment, read_instructions

    example = Path(__file__).parents[2] / "examples" / "testbed.yaml"
    if example.is_file():  # not in an installed package
        assert testbed.experiment_path().read_bytes() == example.read_bytes(), "copy one over the other"
    experiment = load_experiment(testbed.experiment_path())
    fields = [(p.key, p.text, p.family, p.role) for p in experiment.prompt_list()]
    assert fields == [(p.key, p.text, p.family, p.role) for p in PROMPTS]
    assert experiment.model.system_prompt == testbed.SYSTEM_PROMPT
    assert experiment.evaluation is not None
    questions_file = experiment.resolve(experiment.evaluation.questions["questions"].path)
    assert read_instructions(questions_file) == testbed.instructions("evaluation")
