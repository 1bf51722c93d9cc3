"""Which token a value belongs to: by ids, texts, or what `inoc doctor` proved. Servers that lie, shift and drop."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from servers.completions_server import CompletionsServer
from servers.openai_stub import Call, Reply

from inoc.backends import check_scores
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import ModelSpec, ScoreRequest
from inoc.errors import BackendRejected, BadResult, InocError

REQUESTS = [ScoreRequest(f"r{i}", tuple(range(40, 45 + i)), tuple(60 + 3 * i + k for k in range(4))) for i in range(6)]
Change = Callable[[dict], None]


@pytest.fixture(scope="module")
def expected(tiny: Path) -> dict[str, np.ndarray]:
    local = LocalBackend.from_spec(ModelSpec(str(tiny), options={"device": "cpu"}))
    return {result.id: result.logprobs for result in local.score(REQUESTS)}


def each(*changes: Change, probe: bool = True) -> Callable[[Call, dict], Reply | None]:
    """Change every reply's logprobs; with `probe=False` not those of the prompt of three tokens."""

    def spoil(call: Call, answer: dict) -> None:
        if not probe and len(call.json["prompt"][0]) <= 3:
            return
        for choice in answer["choices"]:
            choice.pop("prompt_logprobs", None)
            for change in changes:
                if choice["logprobs"]:
                    change(choice["logprobs"])

    return spoil


def no_texts(found: dict) -> None:
    del found["tokens"]


def prepend(found: dict) -> None:
    """A begin-of-text token before the prompt, as the server writes it out."""
    found["token_logprobs"][0:1] = [None, -0.5]
    if found.get("tokens"):
        found["tokens"].insert(0, "<s>")


def left(found: dict) -> None:
    found["token_logprobs"] = [*found["token_logprobs"][1:], -0.25]


def right(found: dict) -> None:
    found["token_logprobs"] = [None, *found["token_logprobs"][:-1]]


def repeat_first(found: dict) -> None:
    """Shifted by one, and nothing shows it: the values keep their number and the first is still missing."""
    values = found["token_logprobs"]
    values[1:] = [values[1], *values[1:-1]]


def drop_token(found: dict) -> None:
    found["tokens"] = found["tokens"][:-1]


def swap_tokens(found: dict) -> None:
    found["tokens"][-2:] = found["tokens"][-2:][::-1]


def false(found: dict) -> None:
    found["token_logprobs"][-1] = False


def text(found: dict) -> None:
    found["token_logprobs"][-1] = "-0.5"


@pytest.mark.parametrize("style", ["vllm", "prompt_logprobs", "echo"])
def test_ids_or_texts_match_values_to_tokens(tiny: Path, connect, expected: dict, style) -> None:
    with CompletionsServer(tiny, style) as server:
        backend = connect(server.url)
        assert backend.needs_proof() is None
        got = {r.id: r for r in check_scores(REQUESTS, backend.score(REQUESTS))}
    for id, values in expected.items():
        np.testing.assert_allclose(got[id].logprobs, values, atol=5e-5, rtol=0)
        assert (got[id].token_ids is None) == (style == "echo")


def test_texts_as_in_the_vocabulary_are_known(tiny: Path, connect, expected: dict) -> None:
    """Some servers return the pieces of the vocabulary instead of what they decode to."""
    with CompletionsServer(tiny, "echo") as server:
        pieces = server.tokenizer.convert_ids_to_tokens

        def spell(call: Call, answer: dict) -> None:
            for ids, choice in zip(call.json["prompt"], answer["choices"], strict=True):
                shown = [*ids, 0][: len(choice["logprobs"]["tokens"])]
                choice["logprobs"]["tokens"] = pieces(shown)

        server.spoil = spell
        got = {r.id: r.logprobs for r in connect(server.url).score(REQUESTS)}
    for id, values in expected.items():
        np.testing.assert_allclose(got[id], values, atol=5e-5, rtol=0)


HOSTILE: dict[str, Callable[[Call, dict], Reply | None]] = {
    "a token before the prompt": each(prepend),
    "the same, without texts": each(prepend, no_texts),
    "moved to the left": each(left),
    "moved to the right": each(right),
    "moved to the left, without texts": each(left, no_texts),
    "moved, and nothing shows it": each(repeat_first, no_texts),
    "without texts": each(no_texts),
    "fewer texts than values": each(drop_token),
    "texts in another order": each(swap_tokens),
    "false for a value": each(false),
    "a text for a value": each(text),
}


@pytest.mark.parametrize("style", ["vllm", "echo"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_server_whose_values_cannot_be_matched_gives_none(tiny: Path, connect, style, hostile: str) -> None:
    with CompletionsServer(tiny, style, spoil=HOSTILE[hostile]) as server, pytest.raises(InocError):
        next(connect(server.url, concurrency=1).score(REQUESTS))


@pytest.mark.parametrize("style", ["vllm", "echo"])
@pytest.mark.parametrize("change", [prepend, left, right, drop_token, swap_tokens, false, text, no_texts])
def test_a_server_that_behaves_for_the_probe_only_gives_none(tiny: Path, connect, style, change: Change) -> None:
    spoil = each(change, probe=False)
    with CompletionsServer(tiny, style, spoil=spoil) as server, pytest.raises(BadResult, match="unusable reply"):
        list(connect(server.url).score(REQUESTS))


@pytest.mark.parametrize("entry", [{"60": {"logprob": False}}, {"60": {"logprob": "-1"}}, {"60": {"logprob": None}}])
def test_false_is_not_a_logprob_of_the_prompt(tiny: Path, connect, entry: dict) -> None:
    def spoil(call: Call, answer: dict) -> None:
        for choice in answer["choices"]:
            if len(choice.get("prompt_logprobs") or []) > 3:
                choice["prompt_logprobs"][-4] = entry

    with CompletionsServer(tiny, "prompt_logprobs", spoil=spoil) as server, pytest.raises(BadResult):
        list(connect(server.url).score(REQUESTS[:1]))


def test_what_was_proved_is_this_server_and_no_other(tiny: Path, connect, expected: dict) -> None:
    with CompletionsServer(tiny, "echo", spoil=each(no_texts)) as server:
        backend = connect(server.url)
        with pytest.raises(BackendRejected, match="inoc doctor STUDY --store STORE"):
            list(backend.score(REQUESTS))
        proof = backend.needs_proof()
        assert proof is not None
        assert "127.0.0.1" not in proof
        backend.accept_proofs([proof])
        got = {r.id: r.logprobs for r in backend.score(REQUESTS)}
        for id, values in expected.items():
            np.testing.assert_allclose(got[id], values, atol=5e-5, rtol=0)
    with CompletionsServer(tiny, "echo", name="other", spoil=each(no_texts)) as server:
        backend = connect(server.url, served_name="other")
        backend.accept_proofs([proof])
        with pytest.raises(BackendRejected, match="inoc doctor"):
            list(backend.score(REQUESTS))
