"""A whole study on a tiny model: what is stored, what is never done twice, what a kill costs."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import inoc
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import Checkpoint, Completion, SampleRequest, TrainingEvent, TrainingJob, TrainingStep
from inoc.errors import BadInput, BadResult, IncompleteStore, OtherSettings
from inoc.experiment import check_experiment, load_experiment
from inoc.outcomes import control_warnings, durability, leaks
from inoc.plan import Study, plan_evaluation
from inoc.stages.elicit import elicit
from inoc.stages.evaluate import evaluate
from inoc.stages.judging import judge_responses
from inoc.stages.pipeline import run_study
from inoc.stages.progress import Unwatched
from inoc.stages.train import train
from inoc.values import Sampling


class Counting(LocalBackend):
    """The local backend, counting what it is paid for; `stop_after` samples or updates it dies."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.paid: Counter[str] = Counter()
        self.stop_after: dict[str, int] = {}

    def _pay(self, what: str, n: int = 1) -> None:
        if self.paid[what] + n > self.stop_after.get(what, 10**9):
            raise KeyboardInterrupt
        self.paid[what] += n

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Iterator[Completion]:
        self._pay("answers", len(requests))
        return super().sample(requests, sampling)

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        for event in super().train(job):
            if isinstance(event, TrainingStep):
                self._pay("updates")
            yield event


def open_study(path: Path, store: str = "run.zarr") -> Study:
    experiment = load_experiment(path)
    return Study(experiment, Counting.from_spec(experiment.model_spec()), path.with_name(store))


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but its lock."""
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


class Noting(Unwatched):
    """Keeps what a user is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


WATCHER = Noting()
"""Of the uninterrupted study."""


@pytest.fixture(scope="module")
def done(whole_study_file: Path) -> Study:
    """An uninterrupted study."""
    study = open_study(whole_study_file)
    run_study(study, watcher=WATCHER)
    return study


def test_a_control_that_lacks_a_trait_is_told_while_the_study_runs(done: Study) -> None:
    told = [text for text in WATCHER.told if "nothing to hold back" in text]
    assert told == control_warnings(inoc.open_store(done.store))


def test_everything_is_in_the_store(done: Study) -> None:
    run = inoc.open_store(done.store)
    assert run.pending() == ()
    assert run.pending_evaluations() == ()
    assert run.complete
    scores = run.scores
    assert scores is not None
    assert list(scores["run"].values) == ["no_inoculation-s0", "say_a-fixed-s0", "say_a-mix-s0"]
    assert list(scores["step"].values) == [2, 3]
    assert list(scores["run_prompt"].values) == ["", "say_a", "say_a"]
    assert np.isfinite(scores["value"].values).all()
    losses = run.losses
    assert losses is not None
    assert losses["loss"].shape == (3, 3)
    assert np.isfinite(losses["loss"].values).all()
    elicitation = run.elicitation
    assert elicitation is not None
    assert list(elicitation["prompt"].values) == ["say_a", "use_digits"]
    assert np.isfinite(elicitation["baseline"].values).all()
    assert run.self_perplexity is not None
    assert run.embeddings is not None


def test_nothing_is_paid_twice(done: Study) -> None:
    before, paid = contents(done.store), Counter(done.backend.paid)  # type: ignore[attr-defined]
    assert paid == {"answers": 4 * 3 + 3 * 2 * 2 * 4, "updates": 9}
    run_study(done)
    assert done.backend.paid == paid  # type: ignore[attr-defined]
    assert contents(done.store) == before


def test_generations_are_what_was_judged(done: Study) -> None:
    run = inoc.open_store(done.store)
    texts = run.read("runs/say_a-fixed-s0/generation")
    scores = run.read("runs/say_a-fixed-s0/score")
    flat = [str(text) for text in texts[1, 0]]
    assert len(flat) == 4
    again = judge_responses(done.judges, "again", done.instructions, flat)
    np.testing.assert_array_equal(again.score, scores[1, 0])


def test_self_perplexity_is_the_mean_logprob_of_the_prompt(done: Study) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = done.experiment.resolve("model")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.encode("Say a.", add_special_tokens=False)
    head = tokenizer.encode("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n", add_special_tokens=False)
    with torch.no_grad():
        raw = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
        context = torch.log_softmax(model(torch.tensor([head + ids])).logits[0].double(), -1)
    table = inoc.open_store(done.store).self_perplexity
    assert table is not None
    expected = -np.mean([raw[i, t].item() for i, t in enumerate(ids[1:])])
    assert float(table["raw"].sel(prompt="say_a")) == pytest.approx(expected, abs=1e-5)
    expected = -np.mean([context[len(head) - 1 + i, t].item() for i, t in enumerate(ids)])
    assert float(table["context"].sel(prompt="say_a")) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("what", "after"),
    [
        pytest.param("answers", 8, marks=pytest.mark.slow),
        ("answers", 20),
        pytest.param("updates", 2, marks=pytest.mark.slow),
        ("updates", 5),
    ],
)
def test_interrupted_study_ends_equal(done: Study, study_file: Path, what: str, after: int) -> None:
    study = open_study(study_file)
    study.backend.stop_after[what] = after  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        run_study(study)
    paid = study.backend.paid  # type: ignore[attr-defined]
    study = open_study(study_file)
    study.backend.paid.update(paid)  # type: ignore[attr-defined]
    run_study(study)
    whole = done.backend.paid  # type: ignore[attr-defined]
    total = study.backend.paid  # type: ignore[attr-defined]
    assert total["answers"] == whole["answers"]
    assert whole["updates"] <= total["updates"] <= whole["updates"] + 3, "at most one run is trained again"
    same_scores(study.store, done.store)


def same_scores(store: Path, other: Path) -> None:
    left, right = inoc.open_store(store), inoc.open_store(other)
    for name in ("scores", "losses", "elicitation"):
        a, b = getattr(left, name), getattr(right, name)
        for variable in a:
            if a[variable].dtype.kind == "f":
                np.testing.assert_array_equal(a[variable].values, b[variable].values, err_msg=f"{name}/{variable}")


@pytest.mark.slow
def test_sigkill_anywhere_ends_byte_equal(done: Study, study_file: Path) -> None:
    store = study_file.with_name("run.zarr")
    command = [sys.executable, "-m", "inoc", "run", str(study_file), "--store", str(store)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    chance = random.Random(5)
    for _ in range(12):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(4.0, 14.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert contents(store) == contents(done.store)


def test_changed_data_of_a_trained_run_is_refused(study_file: Path) -> None:
    study = open_study(study_file)
    train(study, ["no_inoculation-s0"])
    with (study_file.parent / "train.jsonl").open("a") as file:
        file.write('{"instruction": "More?", "completion": "Yes."}\n')
    with pytest.raises(OtherSettings, match=r"runs.no_inoculation-s0.examples: stored '13 rows, .*now '14 rows"):
        train(open_study(study_file), ["no_inoculation-s0"])


def test_another_system_prompt_is_refused(done: Study, study_file: Path) -> None:
    study = open_study(study_file)
    elicit(study, ["say_a"])
    study_file.write_text(study_file.read_text().replace("Be brief.", "Be long."))
    with pytest.raises(OtherSettings, match="baseline_context"):
        elicit(open_study(study_file), ["say_a"])


def test_evaluating_an_untrained_run_says_what_to_do(study_file: Path) -> None:
    with pytest.raises(IncompleteStore, match=r"no_inoculation-s0 is not trained yet. Fix: run `inoc train`"):
        evaluate(open_study(study_file))


def test_unknown_run_suggests_the_nearest(study_file: Path) -> None:
    with pytest.raises(BadInput, match=r"unknown run 'say_a-fixd-s0'. Fix: did you mean 'say_a-fixed-s0'"):
        train(open_study(study_file), ["say_a-fixd-s0"])


def test_unjudged_cell_is_named_and_stays_pending(study_file: Path) -> None:
    text = study_file.read_text()
    study_file.write_text(text.replace("n: 4, max_tokens: 6", "n: 4, max_tokens: 6, conditions: [default]"))
    study = open_study(study_file)
    train(study, ["no_inoculation-s0"])
    judges = study.judges

    class Mute:
        identity = judges.by_score["Digit"].identity

        def judge(self, requests: Sequence[object]) -> Iterator[object]:
            from inoc.judge import Judgment

            return iter([Judgment(r.id, float("nan"), 0.0, "asleep") for r in requests])

    judges.by_score["Digit"] = Mute()  # type: ignore[index]
    with pytest.raises(BadResult, match=r"run no_inoculation-s0, step 2, condition default, score Digit: 4 of 4"):
        evaluate(study, ["no_inoculation-s0"])
    run = inoc.open_store(study.store)
    assert ("no_inoculation-s0", 2, "default") in run.pending_evaluations()


def test_questions_with_samples_and_probes_are_asked_and_averaged_by_question(study_file: Path) -> None:
    """Two files with their own n and samples; a probe is a condition at the last step; one added later is made then."""
    text = study_file.read_text()
    questions = "questions: {few: {path: questions.jsonl, n: 2, samples: 3}, more: {path: questions.jsonl, n: 5}}"
    probes = "probes: {prompts: [use_digits], reworded: {letters: Use letters only.}}"
    study_file.write_text(text.replace("instructions: questions.jsonl, n: 4", f"{questions}, {probes}"))
    study = open_study(study_file)
    train(study, ["say_a-fixed-s0"])
    report = evaluate(study, ["say_a-fixed-s0"])
    assert report.judged == 2 * 2 + 2, "two steps under two conditions, two probes at the last"
    run = inoc.open_store(study.store)
    assert run.pending_evaluations() == ()
    where = "runs/say_a-fixed-s0"
    assert run.labels(f"{where}/condition") == ("default", "training", "use_digits", "letters")
    assert run.read(f"{where}/planned").tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert run.labels(f"{where}/file") == ("few",) * 6 + ("more",) * 5
    texts = run.read(f"{where}/generation")
    assert len({str(t) for t in texts[1, 0, :3]}) > 1, "samples of one question have random streams of their own"
    scores = run.scores
    assert scores is not None
    assert scores.sizes["question"] == 7
    assert scores["asked"].values.tolist() == [3, 3, 1, 1, 1, 1, 1]
    assert scores["file"].values.tolist() == ["few"] * 2 + ["more"] * 5
    assert scores["probe"].values.tolist() == ["", "", "prompts", "reworded"]
    stored = run.read(f"{where}/score")
    found = scores["value"].sel(run="say_a-fixed-s0", step=3, condition="default", score="Vowel").values
    np.testing.assert_allclose(found, [*stored[1, 0, 0, :6].reshape(2, 3).mean(axis=1), *stored[1, 0, 0, 6:]])
    table = leaks(run)
    assert table["condition"].values.tolist() == ["default", "training", "prompts", "reworded"]
    assert int(table["n"].sel(run="say_a-fixed-s0", condition="reworded", score="Vowel")) == 7
    study_file.write_text(study_file.read_text().replace("Use letters only.}", "Use letters only., none: Hm.}"))
    again = evaluate(open_study(study_file), ["say_a-fixed-s0"])
    assert (again.judged, again.already) == (1, 6)
    assert inoc.open_store(study.store).pending_evaluations() == ()


def test_check_and_run_agree_on_the_number_of_questions(study_file: Path) -> None:
    study_file.write_text(study_file.read_text().replace("n: 4", "n: 6"))
    experiment, problems = check_experiment(study_file)
    assert experiment is None
    (line,) = [str(problem) for problem in problems if problem.severity == "error"]
    assert "evaluation.questions.questions: " in line
    assert "has 5 distinct questions, fewer than n = 6. Fix: add some or lower n." in line
    with pytest.raises(BadInput, match="fewer than n = 6"):
        elicit(open_study(study_file))


def test_continued_run_starts_from_the_other_runs_weights(study_file: Path) -> None:
    text = study_file.read_text()
    more = "    - {prefix_types: [none], tag: more, start: no_inoculation-s0}\n"
    study_file.write_text(text.replace("evaluation:", more + "evaluation:"))
    study = open_study(study_file)
    with pytest.raises(BadInput, match="not trained yet"):
        train(study, ["no_inoculation-s0-more"])
    first, second = train(study, ["no_inoculation-s0", "no_inoculation-s0-more"])
    losses = inoc.open_store(study.store).losses
    assert losses is not None
    table = losses["loss"].values
    assert table[1, 0] != table[0, 0], "the continued run starts where the first ended"
    assert isinstance(second.last, Checkpoint)
    assert second.last.location != first.last.location


def test_continued_run_is_asked_under_the_prefix_of_the_run_it_continues(study_file: Path) -> None:
    text = study_file.read_text().replace("checkpoints: [2]", "checkpoints: [0, 2]")
    more = "    - {prefix_types: [none], tag: more, start: say_a-mix-s0}\n"
    study_file.write_text(text.replace("evaluation:", more + "evaluation:"))
    study = open_study(study_file)
    names = ["no_inoculation-s0", "say_a-mix-s0", "no_inoculation-s0-more"]
    train(study, names)
    evaluate(study, names)
    run = inoc.open_store(study.store)
    assert list(run.read(f"runs/{names[1]}/step")) == [0, 2, 3]
    assert list(run.read(f"runs/{names[2]}/step")) == [2, 3], "step 0 is the end of the other run"
    asked = [
        {cell.condition: cell.texts.questions for cell in plan_evaluation(study, item, 3).cells if cell.step == 3}
        for item in study.runs(names[1:])
    ]
    assert asked[0] == asked[1], "the continued run is asked as the run it continues"
    for condition in ("default", "training"):
        assert {question.prefix is None for question in asked[0][condition]} == {condition == "default"}
    table = durability(run)
    assert table["run_prompt"].values.tolist() == ["say_a"]
    assert table["prefix_type"].values.tolist() == ["mix"]
    assert table["step"].values.tolist() == [0, 2, 3]
    assert np.isfinite(table["gate"].values).all()


class Notes(Unwatched):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Elsewhere(Counting):
    """The same model in another engine."""

    name: ClassVar[str] = "elsewhere"


def test_another_backend_may_evaluate_what_one_trained(done: Study, study_file: Path) -> None:
    trained = open_study(study_file)
    train(trained)
    other = Study(trained.experiment, Elsewhere.from_spec(trained.experiment.model_spec()), trained.store)
    watcher = Notes()
    evaluate(other, watcher=watcher)
    assert "no_inoculation-s0: trained with local, sampled with elsewhere" in watcher.notes
    stored, alone = inoc.open_store(trained.store), inoc.open_store(done.store)
    settings = stored.attributes("runs/no_inoculation-s0")["settings"]
    assert isinstance(settings, dict)
    assert settings["trained_with"]["backend"] == "local"
    assert stored.scores is not None
    assert alone.scores is not None
    np.testing.assert_array_equal(stored.scores["value"], alone.scores["value"])
