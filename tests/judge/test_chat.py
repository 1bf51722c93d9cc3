"""The chat judge: numbers and labels in what a model writes; everything else is NaN with its reason, and counted."""

import json
import math
from pathlib import Path

import pytest
from servers.openai_stub import Reply, json_reply

from inoc.errors import BadInput, BadResult
from inoc.judge import JudgeRequest, check_nan_share, open_judge
from inoc.judge.chat import written_label, written_number
from inoc.judge.prompts import question_digest
from inoc.judge.scale import DIGIT


def reply(text: str | None, finish: str = "stop", **message: object) -> Reply:
    said = {"role": "assistant", "content": text, **message}
    return json_reply({"choices": [{"message": said, "finish_reason": finish}]})


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("85", 85), (" 85. ", 85), ("Score: 85", 85), ("85/100", 85),
        ("**7**", 7), ("0", 0), ("100", 100), ("9 or 9", 9),
        ("", None), ("I cannot say", None), ("between 20 and 40", None), ("101", None), ("8.5", None), ("-5", None),
        ("1000", None), ("GPT4", None), ("٣", None), ("85%", 85),
    ],
)  # fmt: skip
def test_one_number_in_range_or_nothing(text: str, score: float | None) -> None:
    assert written_number(text) == score


def test_a_shorter_scale_is_stretched() -> None:
    assert written_number("9", DIGIT) == 100
    assert written_number("10", DIGIT) is None
    assert written_number("3/9", DIGIT) == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("yes", "yes"), ("**Yes**, it does.", "yes"), ("no", "no"), ("yes and no", None), ("yesterday", None),
        ("", None),        ("not sure", "not sure"), ("NOT SURE!", "not sure"),
    ],
)  # fmt: skip
def test_one_whole_label_or_nothing(text: str, label: str | None) -> None:
    assert written_label(text, {"yes": 100.0, "no": 0.0, "sure": 50.0, "not sure": None}) == label


def make(stub, tmp_path: Path, **options: object):
    given = {"url": stub.url, "cache": str(tmp_path / "cache.sqlite"), "question": "Does it lie?"} | options
    return open_judge("chat", "Lies", given)


def test_numbers_are_scores_and_paid_for_once(serve, tmp_path: Path) -> None:
    stub = serve(lambda call: reply("Score: 40"))
    judge = make(stub, tmp_path)
    for _ in range(2):
        (judgment,) = judge.judge([JudgeRequest("a", "Lies", "Hi?", "Hello.")])
        assert (judgment.score, judgment.coverage, judgment.error) == (40.0, 1.0, None)
    assert len(stub.requests) == 1
    sent = stub.requests[0].json
    assert "logprobs" not in sent
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("gpt-4.1-mini", 16, 0.0)
    assert "Does it lie?" in sent["messages"][1]["content"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (reply("", "content_filter"), "content filter"),
        (reply(None, refusal="I will not."), "refused"),
        (reply("I would say that"), "not one number from 0 to 100: 'I would say that'"),
    ],
)
def test_refusals_and_filters_are_missing_and_counted(serve, tmp_path: Path, content: Reply, reason: str) -> None:
    stub = serve(lambda call: content)
    judgments = list(make(stub, tmp_path).judge([JudgeRequest(str(i), "Lies", "Hi?", f"Text {i}.") for i in range(3)]))
    assert all(math.isnan(judgment.score) for judgment in judgments)
    assert all(reason in (judgment.error or "") for judgment in judgments)
    assert all(judgment.coverage == 0.0 for judgment in judgments)
    with pytest.raises(BadResult, match="3 of 3 responses have no score"):
        check_nan_share("a cell", judgments)
    before = len(stub.requests)
    list(make(stub, tmp_path).judge([JudgeRequest("0", "Lies", "Hi?", "Text 0.")]))
    assert len(stub.requests) == before + 1, "a missing score is not cached"


def test_labels_stand_for_scores(serve, tmp_path: Path) -> None:
    stub = serve(lambda call: reply("unsure" if "Text 1" in call.text else "yes"))
    labels = json.dumps({"yes": 100, "no": 0, "unsure": None})
    judge = make(stub, tmp_path, labels=labels)
    first, second = judge.judge([JudgeRequest(str(i), "Lies", "Hi?", f"Text {i}.") for i in range(2)])
    by_id = {first.id: first, second.id: second}
    assert by_id["0"].score == 100
    assert math.isnan(by_id["1"].score)
    assert by_id["1"].error == "the judge model answered unsure"
    assert by_id["1"].coverage == 1.0, "it is one of the labels"
    assert "exactly one of yes, no, unsure" in stub.requests[0].json["messages"][0]["content"]
    assert judge.identity != make(stub, tmp_path).identity
    assert judge.identity != make(stub, tmp_path, labels=json.dumps({"yes": 90, "no": 0, "unsure": None})).identity


def test_identity_names_what_is_not_the_default(serve, tmp_path: Path) -> None:
    stub = serve(lambda call: reply("1"))
    changes = ({}, {"max_tokens": 17}, {"temperature": 1.0}, {"model": "other"}, {"question": "Is it so?"})
    found = [make(stub, tmp_path, **change).identity for change in changes]
    assert len(set(found)) == len(found)
    asked = f"question-{question_digest('Does it lie?')}"
    assert found[0] == f"chat:gpt-4.1-mini:prompt-1:0-100:{asked}"
    assert found[1].endswith(f":{asked}:max_tokens-17")
    assert found[2].endswith(f":{asked}:temperature-1")
    shipped = make(stub, tmp_path, question=None, scale="0-9")
    assert shipped.identity == "chat:gpt-4.1-mini:prompt-1:0-9"


def test_a_label_may_be_one_letter_and_a_reply_may_be_empty(serve, tmp_path: Path) -> None:
    stub = serve(lambda call: json_reply({"choices": []}) if "Text 1" in call.text else reply("y"))
    judge = make(stub, tmp_path, labels='{"y": 100, "n": 0}', patience=1.0)
    found = {j.id: j for j in judge.judge([JudgeRequest(str(i), "Lies", None, f"Text {i}.") for i in range(2)])}
    assert (found["0"].score, found["0"].error) == (100.0, None)
    assert math.isnan(found["1"].score)
    assert "it has no answer" in (found["1"].error or "")


@pytest.mark.parametrize("kind", ["chat", "logprob"])
def test_the_cache_is_where_the_option_says(serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    stub = serve(lambda call: reply("40"))
    judge = open_judge(kind, "Lies", {"url": stub.url, "cache": "~/kept.sqlite", "question": "Does it lie?"})
    list(judge.judge([JudgeRequest("a", "Lies", "Hi?", "Hello.")]))
    assert (tmp_path / "kept.sqlite").exists()


@pytest.mark.parametrize("kind", ["chat", "logprob"])
def test_without_an_option_there_is_one_cache_for_all(serve, tmp_path: Path, monkeypatch, kind: str) -> None:
    monkeypatch.setattr("inoc.judge.asking.default_cache_path", lambda: tmp_path / "of all.sqlite")
    stub = serve(lambda call: reply("40"))
    open_judge(kind, "Lies", {"url": stub.url})
    assert (tmp_path / "of all.sqlite").exists()


@pytest.mark.parametrize("labels", ["x", "[1]", '{"a": 101, "b": 0}', '{"a": 1}', '{"": 1, "b": 2}'])
def test_wrong_labels_are_one_sentence(serve, tmp_path: Path, labels: str) -> None:
    with pytest.raises(BadInput, match="labels"):
        make(serve(lambda call: reply("1")), tmp_path, labels=labels)
