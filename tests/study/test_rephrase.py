"""Rephrasing pools: cleaning, rounds that survive, reports."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from inoc.errors import BadInput
from inoc.experiment import load_experiment, read_pool
from inoc.stages.rephrase import clean, rephrase, report
from inoc.stages.rephrasers import TemplateRephraser


class Scripted:
    """Rewordings from a list of rounds; counts how often it is asked."""

    identity = "scripted"
    per_round = 5

    def __init__(self, rounds: Sequence[Sequence[str]]) -> None:
        self.rounds, self.asked = list(rounds), 0

    def rewordings(self, text: str, request: str, n: int, seed: int) -> Sequence[str]:
        self.asked += 1
        if not self.rounds:
            raise KeyboardInterrupt
        return self.rounds.pop(0)


def test_clean_drops_numbering_quotes_the_original_and_repetitions() -> None:
    lines = ["1. Be gay.", '"Be merry."', "- be  GAY", "", "Say hello", "Say hello.", "\u201cBe jolly\u201d", "  "]
    assert clean(lines, "Say hello.", "ordinary") == ["Be gay.", "Be merry.", "Be jolly"]


def test_close_keeps_lengths_within_half() -> None:
    assert clean(["abcdef", "abcdefghijklmnop", "ab"], "abcdefgh", "close") == ["abcdef"]


def test_pool_is_shuffled_cut_and_reported(study_file: Path) -> None:
    experiment = load_experiment(study_file)
    folder = study_file.parent / "pools"
    (folder / "say_a.jsonl").unlink()
    source = Scripted([["One a.", "Two a.", "say A"], ["One a", "Three a.", "Four a."]])
    (entry,) = rephrase(experiment, source, study_file.parent / "work", ["say_a"])
    pool = read_pool(folder / "say_a.jsonl")
    assert len(set(pool)) == 3 == entry.distinct
    assert set(pool) <= {"One a.", "Two a.", "Three a.", "Four a."}
    assert source.asked == 2
    rephrase(experiment, source, study_file.parent / "work", ["say_a"])
    assert source.asked == 2, "a pool that is large enough is left alone"


def test_rounds_survive_an_interruption(study_file: Path) -> None:
    experiment = load_experiment(study_file)
    (study_file.parent / "pools" / "say_a.jsonl").unlink()
    with pytest.raises(KeyboardInterrupt):
        rephrase(experiment, Scripted([["One a."]]), study_file.parent / "work", ["say_a"])
    rest = Scripted([["Two a.", "Three a."]])
    (entry,) = rephrase(experiment, rest, study_file.parent / "work", ["say_a"])
    assert entry.complete
    assert rest.asked == 1
    assert set(read_pool(study_file.parent / "pools" / "say_a.jsonl")) == {"One a.", "Two a.", "Three a."}


def test_a_pool_under_size_is_an_error_and_not_written(study_file: Path) -> None:
    experiment = load_experiment(study_file)
    path = study_file.parent / "pools" / "say_a.jsonl"
    path.unlink()
    with pytest.raises(BadInput, match=r"say_a \(1 of 3\)"):
        rephrase(experiment, Scripted([["One a."]] * 10), study_file.parent / "work", ["say_a"])
    assert not path.exists()


def test_four_rounds_in_a_row_without_anything_new_end_it(study_file: Path) -> None:
    """Four stale rounds, counted anew after each new rewording."""
    experiment = load_experiment(study_file)
    path = study_file.parent / "pools" / "say_a.jsonl"
    path.unlink()
    stale = [["One a."]] * 3
    source = Scripted([["One a."], *stale, ["Two a."], *stale, ["Three a."]])
    (entry,) = rephrase(experiment, source, study_file.parent / "work", ["say_a"])
    assert entry.complete
    path.unlink()
    source = Scripted([["One a."], ["Two a."], *stale, ["One a."], ["Three a."]])
    with pytest.raises(BadInput, match=r"say_a \(2 of 3\)"):
        rephrase(experiment, source, study_file.parent / "other", ["say_a"])
    assert source.asked == 6


def test_templates_are_deterministic_and_distinct() -> None:
    first = TemplateRephraser().rewordings("Answer playfully.", "", 60, 4)
    assert first == TemplateRephraser().rewordings("Answer playfully.", "", 60, 4)
    assert len(set(first)) == 60


def test_report_counts_languages() -> None:
    entry = report("k", ["This is an English sentence.", "Ceci est une phrase en français."], 5)
    assert entry.size == 2
    assert not entry.complete
    assert entry.languages == {"english": 0.5, "french": 0.5}
    assert (entry.shortest, entry.longest) == (5, 6)
