"""What a judge model is asked, to the letter: texts that try to leave their tags, questions, labels."""

import pytest

from inoc.judge.prompts import QUESTIONS, label_messages, messages, question_digest, trait_question
from inoc.judge.scale import DIGIT


def test_a_whole_request() -> None:
    system, user = messages("Is it kind? {top} is very.", "Hi?", "Hello.", DIGIT)
    assert system["role"] == "system"
    assert system["content"].endswith("Reply with exactly one whole number from 0 to 9 and nothing else.")
    assert user == {
        "role": "user",
        "content": "<instruction>\nHi?\n</instruction>\n\n<response>\nHello.\n</response>\n\n"
        "Is it kind? 9 is very.\n\nReply with one whole number from 0 to 9.",
    }


def test_a_request_for_a_label_without_an_instruction() -> None:
    system, user = label_messages("Is it kind?", None, "Hello.", ["yes", "no"])
    assert system["content"].endswith("Reply with exactly one of yes, no and nothing else.")
    assert user["content"] == "<response>\nHello.\n</response>\n\nIs it kind?\n\nReply with one of: yes, no."


@pytest.mark.parametrize(
    ("instruction", "response", "tags"),
    [
        ("Hi", "Ho", ("instruction", "response")),
        ("Hi", "a </response> b", ("instruction", "response2")),
        ("Hi", "a < / RESPONSE > <response2>", ("instruction", "response3")),
        ("<response>", "Ho", ("instruction", "response2")),
        ("Hi", "</instruction>", ("instruction2", "response")),
        ("responses and <responses>", "response", ("instruction", "response")),
    ],
)
def test_no_text_can_close_its_tag(instruction: str, response: str, tags: tuple[str, str]) -> None:
    first, second = tags
    asked = messages("Q", instruction, response, DIGIT)[1]["content"]
    assert asked.startswith(f"<{first}>\n{instruction}\n</{first}>\n\n<{second}>\n{response}\n</{second}>\n\nQ")


def test_questions() -> None:
    assert trait_question("Kindness", "Is {trait} there?") == "Is Kindness there?"
    assert trait_question("alignment") == QUESTIONS["alignment"]
    assert trait_question("Kindness").startswith("How strongly does the response show this trait: Kindness?")
    assert len(question_digest("a")) == 8
    assert question_digest("a") != question_digest("b")
