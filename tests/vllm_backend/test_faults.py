"""An engine that answers wrongly, and a model that is not there. Needs no vLLM."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from inoc.backends import check_scores
from inoc.backends.protocols import ModelSpec, ScoreRequest, TokenLogprobs
from inoc.backends.vllm import VllmBackend
from inoc.backends.vllm.adapters import Adapter
from inoc.backends.vllm.engine import Engine, Scored
from inoc.backends.vllm.score import score
from inoc.errors import BadInput, BadResult
from inoc.values import TokenIds

REQUESTS = [ScoreRequest(str(i), (*range(40), i), (50 + i, 60, 70)) for i in range(6)]


class WrongEngine(Engine):
    """Right values are -1, -2, ...; `wrong` answers spoil the first prompt of a call."""

    block_size = 32

    def __init__(self, wrong: Scored, plainly: bool) -> None:
        self.wrong, self.plainly = wrong, plainly
        self.asked: list[tuple[bool, int]] = []

    def score(
        self, prompts: Sequence[TokenIds], tails: Sequence[int], adapter: Adapter | None, read_cache: bool
    ) -> list[Scored]:
        self.asked.append((read_cache, len(prompts)))
        results = [
            Scored(-np.arange(1, tail + 1, dtype=np.float32), ids[-tail:], 32 * read_cache)
            for ids, tail in zip(prompts, tails, strict=True)
        ]
        if read_cache or self.plainly:
            results[0] = self.wrong
        return results


WRONG = {
    "wrong id": Scored(np.array([-1, -2, -3], np.float32), (50, 60, 71), 32),
    "garbage": Scored(np.array([-1, -2, -np.inf], np.float32), (50, 60, 70), 32),
    "positive": Scored(np.array([-1, 0.36, -3], np.float32), (50, 60, 70), 32),
    "nan": Scored(np.array([np.nan, -2, -3], np.float32), (50, 60, 70), 32),
    "short": Scored(np.array([-1, -2], np.float32), (50, 60), 32),
}


def run(engine: WrongEngine) -> dict[str, TokenLogprobs]:
    found = check_scores(REQUESTS, score(engine, REQUESTS, None, share_prefix=True))
    return {result.id: result for result in found}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_answer_with_the_cache_is_scored_again(wrong: Scored) -> None:
    engine = WrongEngine(wrong, plainly=False)
    found = run(engine)
    assert engine.asked == [(True, 6), (False, 1)]
    assert all(list(result.logprobs) == [-1, -2, -3] for result in found.values())


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_answer_without_it_is_refused(wrong: Scored) -> None:
    with pytest.raises(BadResult, match="0: "):
        run(WrongEngine(wrong, plainly=True))


def test_a_model_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inoc.backends.base.find_spec", lambda name: object())
    monkeypatch.setattr("inoc.backends.vllm.backend.version_text", lambda: "0.32.0")
    with pytest.raises(BadInput, match=r"no model directory '.*nowhere'"):
        VllmBackend.from_spec(ModelSpec(str(tmp_path / "nowhere"))).check()
