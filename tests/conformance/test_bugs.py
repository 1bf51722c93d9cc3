"""Every planted bug is caught by the test that docs/conformance.md names; a sound plugin passes all of its suite."""

from typing import ClassVar

import pytest

from inoc.experiment import Experiment
from inoc.stages.doctor.training import check_trainer

from . import bugs
from .doctors import examined, experiment
from .fake import FakeBackend
from .make_page import PAGE, said
from .matrix import (
    BACKENDS,
    PLANTED,
    Judging,
    Planted,
    Sampling,
    Tables,
    heuristics_suite,
    importer_suite,
    suite_of,
    written_stores,
)
from .suites import first_failure, outcomes

SAID = said(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return written_stores(tmp_path_factory)


@pytest.fixture(scope="module")
def study() -> Experiment:
    return experiment()


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_planted_bug_is_caught(
    planted: Planted, stores: dict[str, object], study: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = planted.row(stores, tmp_path_factory, study)
    assert found[0] != "no", f"no test sees it: {planted.bug.__doc__}"
    assert found == SAID.get(planted.name), "docs/conformance.md is old: python -m tests.conformance.make_page"


def test_the_doctor_finds_nothing_in_a_sound_backend(study: Experiment) -> None:
    assert examined(FakeBackend(), study, reference=True) is None
    assert examined(FakeBackend(), study, reference=False) is None
    report = check_trainer(study, FakeBackend())
    assert report.fault is None
    assert len(report.losses) == 6
    assert report.difference is not None
    assert report.difference < 1e-5


def test_the_page_has_every_bug_and_no_other() -> None:
    assert list(SAID) == [planted.name for planted in PLANTED]


@pytest.mark.parametrize("kind", BACKENDS, ids=lambda kind: kind.__name__)
def test_a_sound_backend_passes(kind: type, tmp_path_factory: pytest.TempPathFactory) -> None:
    results = dict(outcomes(suite_of(kind), {"backend": FakeBackend()}, tmp_path_factory))
    failed = {name: result for name, result in results.items() if result not in ("passed", "skipped")}
    assert not failed
    skipped = [name for name, result in results.items() if result == "skipped"]
    assert skipped in ([], ["test_known_next_token_table"])


@pytest.mark.parametrize(
    "bug", [FakeBackend, bugs.Base2, bugs.Logits, bugs.NeverGreedy, bugs.TopK], ids=lambda bug: bug.__name__
)
def test_vocabularies_too_large_to_score_whole(bug: type, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As with 150 000 tokens: only those that are drawn, and some others, are scored."""

    class Large(Sampling):
        largest_vocabulary: ClassVar[int] = 30

    found = first_failure(Large(), {"backend": bug()}, tmp_path_factory)
    assert (found is None) == (bug is FakeBackend)


def test_a_sound_judge_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    other = bugs.JudgeBase()
    other.identity = "lexical:1:german"
    results = dict(outcomes(Judging(), {"judge": bugs.french(), "others": [other]}, tmp_path_factory))
    assert set(results.values()) == {"passed"}, results


def test_sound_heuristics_pass(stores: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    results = dict(outcomes(heuristics_suite("ph", "gamma", "mean_abs", "coherence"), stores, tmp_path_factory))
    assert set(results.values()) == {"passed"}, results


def test_a_sound_importer_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    given = {"files": Tables(tmp_path_factory)}
    results = dict(outcomes(importer_suite(bugs.Table), given, tmp_path_factory))
    assert set(results.values()) == {"passed"}, results
