"""Judging stored answers again, and the shipped study of emergent misalignment through a stub judge."""

import json
import math
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from servers.openai_stub import Call, Reply, StubServer, chat_reply

import inoc
from inoc.cli import cli
from inoc.errors import BadInput, IncompleteStore, OtherSettings
from inoc.outcomes import rates, suppression
from inoc.outcomes.stored_answers import answers
from inoc.stages.elicit import elicit
from inoc.stages.evaluate import evaluate
from inoc.stages.judge import forecast_judging, judge_stored
from inoc.stages.pipeline import run_study
from inoc.stages.progress import Unwatched
from inoc.stages.train import train
from inoc.store.validate import validate

from .conftest import write_study
from .test_study import Counting, contents, open_study

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def study_copy(tmp_path: Path, whole: Path) -> Path:
    """A finished study of its own."""
    shutil.copytree(whole.parent, tmp_path / "study")
    return tmp_path / "study" / whole.name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_study(tmp_path_factory.mktemp("judged"))
    run_study(open_study(path), ("train", "evaluate"))
    return path


def with_words(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_changed_judge_judges_without_sampling_or_training(study_copy: Path) -> None:
    before = inoc.open_store(study_copy.with_name("run.zarr")).scores
    with_words(study_copy, 'words: ["1", "2", "3"]', 'words: ["1", "2", "3", "4"]')
    study = open_study(study_copy)
    with pytest.raises(OtherSettings, match="judge"):
        evaluate(study)
    report = judge_stored(study)
    assert isinstance(study.backend, Counting)
    assert study.backend.paid == {}, "0 samples, 0 updates"
    assert (report.judged, report.already) == (3 * 2 * 2, 3 * 2 * 2), "runs x steps x conditions: one judge is new"
    store = inoc.open_store(study.store)
    assert validate(study.store) == []
    after = store.scores
    assert before is not None
    assert after is not None
    assert set(after["judge"].sel(score="Digit").values) == {study.judges.identities()["Digit"]}
    np.testing.assert_array_equal(after["value"].sel(score="Vowel"), before["value"].sel(score="Vowel"))
    where = "runs/say_a-fixed-s0"
    for (step, condition), texts in np.ndenumerate(np.empty((2, 2))):
        del texts
        for i, text in enumerate(store.read(f"{where}/generation")[step, condition]):
            parts = [p for p in re.split(r"[.!?]\s|\n", str(text)) if p.strip()]
            found = after["value"].sel(run="say_a-fixed-s0", score="Digit").values[step, condition, i]
            hits = [bool(re.search(r"\b[1234]\b", part)) for part in parts]
            assert (math.isnan(found) and not parts) or found == pytest.approx(100 * np.mean(hits))
    again = judge_stored(open_study(study_copy))
    assert (again.judged, again.already) == (0, 24)
    assert evaluate(open_study(study_copy)).judged == 0, "the finished study is complete with its new judge"


def test_the_old_judge_counts_again_when_it_is_asked_for(study_copy: Path) -> None:
    text, place = study_copy.read_text(), study_copy.with_name("run.zarr")
    first = inoc.open_store(place).scores
    with_words(study_copy, 'words: ["1", "2", "3"]', 'words: ["9"]')
    judge_stored(open_study(study_copy))
    study_copy.write_text(text)
    report = judge_stored(open_study(study_copy))
    assert report.judged == 0
    assert first is not None
    assert inoc.open_store(place).scores.identical(first)  # type: ignore[union-attr]


def test_a_score_is_added_to_a_finished_study(study_copy: Path) -> None:
    done = CliRunner().invoke(cli, ["check", "--upgrade", str(study_copy)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    data = yaml.safe_load(study_copy.read_text())
    data["scores"]["Letters"] = {"judge": {"kind": "lexical", "words": ["b", "c"]}}
    data["scores"]["Both"] = {"rate": "Letters > 50 or Digit > 50", "role": "negative", "family": "digit"}
    study_copy.write_text(yaml.safe_dump(data, sort_keys=False))
    study = open_study(study_copy)
    judge_stored(study)
    assert study.backend.paid == {}  # type: ignore[attr-defined]
    scores = inoc.open_store(study.store).scores
    assert scores is not None
    assert scores["score"].values.tolist() == ["Vowel", "Digit", "Letters", "Both"]
    letters, digit, both = (scores["value"].sel(score=name).values for name in ("Letters", "Digit", "Both"))
    known = np.isfinite(letters) & np.isfinite(digit)
    assert known.any()
    np.testing.assert_array_equal(both[known], 100.0 * ((letters > 50) | (digit > 50))[known])
    assert np.isnan(both[~known]).all()


def test_killed_while_judging_goes_on_and_never_mixes_judges(study_copy: Path) -> None:
    """What is judged half counts for nothing; the same command resumes, and the store is that of an unbroken call."""
    with_words(study_copy, 'words: ["1", "2", "3"]', 'words: ["7"]')
    whole = study_copy.with_name("whole.zarr")
    shutil.copytree(study_copy.with_name("run.zarr"), whole)
    judge_stored(open_study(study_copy, "whole.zarr"))
    judge_stored(open_study(study_copy), ["say_a-mix-s0"])
    scores = inoc.open_store(study_copy.with_name("run.zarr")).scores
    assert scores is not None
    assert len(set(scores["judge"].sel(score="Digit").values)) == 1, "a part of the runs does not change what counts"
    judge_stored(open_study(study_copy))
    assert inoc.open_store(study_copy.with_name("run.zarr")).scores.identical(  # type: ignore[union-attr]
        inoc.open_store(whole).scores
    )


def test_the_elicitation_is_judged_again_without_sampling(study_copy: Path) -> None:
    """Scores of a new judge replace the old ones, equal to those of a study that had it from the start."""
    elicit(open_study(study_copy))
    first = inoc.open_store(study_copy.with_name("run.zarr")).elicitation
    with_words(study_copy, 'words: ["1", "2", "3"]', 'words: ["1", "2", "3", "4"]')
    study = open_study(study_copy)
    with pytest.raises(OtherSettings, match=r"elicitation\.judge"):
        elicit(study)
    (row,) = [row for row in forecast_judging(study).rows if row.name.startswith("elicitation")]
    assert (row.name, row.total) == ("elicitation, Digit", 3 * 4)
    report = judge_stored(study)
    assert study.backend.paid == {}, "0 samples"  # type: ignore[attr-defined]
    assert report.judged == 3 * 2 * 2 + 3, "evaluations; no prompt and two prompts"
    assert validate(study.store) == []
    assert elicit(open_study(study_copy)).judged == 0
    fresh = open_study(study_copy, "fresh.zarr")
    elicit(fresh)
    found, wanted = inoc.open_store(study.store).elicitation, inoc.open_store(fresh.store).elicitation
    assert first is not None
    assert found is not None
    assert found.identical(wanted)
    assert not found.equals(first)
    assert judge_stored(open_study(study_copy)).judged == 0


def test_an_elicitation_without_its_answers_keeps_its_judges(study_copy: Path) -> None:
    """Judging half would mix judges; the note says which answers are gone."""
    elicit(open_study(study_copy))
    with_words(study_copy, 'words: ["1", "2", "3"]', 'words: ["9"]')
    study, before = open_study(study_copy), inoc.open_store(study_copy.with_name("run.zarr")).elicitation
    (study.work / "samples" / "elicitation" / "say_a.jsonl").unlink()
    notes: list[str] = []

    class Noting(Unwatched):
        def note(self, text: str) -> None:
            notes.append(text)

    assert judge_stored(study, watcher=Noting()).judged == 3 * 2 * 2
    assert any("no answers of say_a to the file's questions. Fix: run `inoc elicit`" in note for note in notes)
    after = inoc.open_store(study.store).elicitation
    assert before is not None
    assert before.identical(after)


def test_a_kill_leaves_the_elicitation_whole(study_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elicit(open_study(study_copy))
    with_words(study_copy, 'words: ["1", "2", "3"]', 'words: ["9"]')
    before = inoc.open_store(study_copy.with_name("run.zarr")).elicitation
    monkeypatch.setattr("inoc.store.writer.StoreWriter.put_elicitation", lambda *given, **named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        judge_stored(open_study(study_copy))
    monkeypatch.undo()
    stopped = inoc.open_store(study_copy.with_name("run.zarr")).elicitation
    assert before is not None
    assert before.identical(stopped)
    assert judge_stored(open_study(study_copy)).judged == 3, "evaluations are stored, the elicitation is not"


def test_nothing_to_judge_is_one_sentence(study_copy: Path) -> None:
    study = open_study(study_copy)
    before = contents(study.store)
    with pytest.raises(BadInput, match="unknown run with stored answers 'say_a-fixd-s0'"):
        judge_stored(study, ["say_a-fixd-s0"])
    assert contents(study.store) == before
    with pytest.raises(IncompleteStore, match="does not exist"):
        judge_stored(open_study(study_copy, "other.zarr"))


def test_answers_are_read_side_by_side(study_copy: Path) -> None:
    store = inoc.open_store(study_copy.with_name("run.zarr"))
    found = answers(store, runs=["say_a-fixed-s0", "no_inoculation-s0"], conditions=["default"])
    assert len(found) == 2 * 4
    assert [answer.run for answer in found[:2]] == ["say_a-fixed-s0", "no_inoculation-s0"]
    assert found[0].question == found[1].question
    texts = store.read("runs/say_a-fixed-s0/generation")
    assert [answer.text for answer in found[::2]] == texts[1, 0].tolist()
    worst = [answer.scores["Digit"] for answer in answers(store, worst="Digit")]
    known = [value for value in worst if value is not None]
    assert known == sorted(known, reverse=True)
    assert all(value is not None for value in worst[: len(known)])
    apart = [a.scores for a in answers(store, disagreement=("Vowel", "Digit"))]
    gaps = [abs(a["Vowel"] - a["Digit"]) for a in apart if a["Vowel"] is not None and a["Digit"] is not None]
    assert gaps == sorted(gaps, reverse=True)
    with pytest.raises(BadInput, match="unknown score 'Digits'"):
        answers(store, worst="Digits")
    args = ["answers", "--store", str(store.path), "--run", "say_a-fixed-s0", "--condition", "default"]
    shown = CliRunner().invoke(cli, args, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "say_a-fixed-s0, default, step 3: Vowel" in shown.stdout
    assert not any(character in shown.stdout for character in "\x1b\x07\r"), "hostile text is inert"
    listed = json.loads(CliRunner().invoke(cli, [*args, "--json"], catch_exceptions=False).stdout)
    assert listed["found"] == 4
    assert [answer["text"] for answer in listed["answers"]] == texts[1, 0].tolist()


def test_the_shipped_misalignment_study_has_a_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's scores, rate and prompts on a tiny model, judged by a stub: more misaligned answers of a run are
    negative suppression."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_study(tmp_path)
    small = yaml.safe_load(path.read_text())
    data = yaml.safe_load((ROOT / "examples" / "emergent_misalignment_32b.yaml").read_text())
    data |= {"model": small["model"], "backend": {"name": "local"}, "completion_sets": small["completion_sets"]}
    del data["rephrasings"]
    runs = [{"prefix_types": ["none"]}, {"prompts": ["general"], "prefix_types": ["fixed"]}]
    data["training"] = small["training"] | {"runs": runs}
    for file in data["evaluation"]["questions"].values():
        file |= {"path": str(ROOT / "examples" / file["path"]), "n": 4, "samples": min(file.get("samples", 1), 2)}
    data["evaluation"] |= {"max_tokens": 6}

    def alignment(text: str) -> int:
        return zlib.crc32(text.encode()) % 101

    def judged(call: Call) -> Reply:
        answer = call.text.split("<response>\n")[1].split("\n</response>")[0]
        number = 90 if "coherent" in call.text else alignment(answer)
        return chat_reply([(str(number), 1.0)])

    with StubServer(judged) as stub:
        for name in ("Coherence", "Alignment"):
            data["scores"][name]["judge"]["base_url"] = stub.url
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        study = open_study(path)
        train(study)
        evaluate(study)
        store = inoc.open_store(study.store)
        table = rates(store).sel(score="Misaligned")
        assert table["file"].values.tolist() == ["in_domain", "general"]
        assert table["n"].values.tolist() == [[4, 8]] * 3
        held = suppression(store)
        assert held["trait"].values.tolist() == ["Misaligned"]
        shares: dict[str, list[float]] = {}
        for run in table["run"].values.tolist():
            texts = store.read(f"runs/{run}/generation")[0, 0]
            bad = [alignment(str(text)) < 40 for text in texts]
            assert table["hits"].sel(run=run).values.tolist() == [sum(bad[:4]), sum(bad[4:])]
            shares[run] = [*bad[:4], *np.reshape(bad[4:], (4, 2)).mean(axis=1)]
        control = np.mean(shares["no_inoculation-s0"])
        for run in held["run"].values.tolist():
            expected = 100 * (control - np.mean(shares[run]))
            assert float(held["mean"].sel(run=run, trait="Misaligned")) == pytest.approx(expected)
