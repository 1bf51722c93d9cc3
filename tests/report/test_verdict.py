"""The first screen: what to use comes first, no prompt of the wanted trait is praised, good and bad are named."""

from pathlib import Path

import numpy as np
import pytest

from inoc.report import build_report
from inoc.report.verdict import TITLE
from inoc.store import PromptInfo, open_store

from ..worlds import Run, write_store

PROMPTS = [
    PromptInfo("ask_german", "Answer in German.", "de", "german", "positive"),
    PromptInfo("ask_flattery", "Flatter me.", "fl", "flattering", "negative"),
    PromptInfo("sky", "The sky is blue.", "new", "neutral", "neutral"),
    PromptInfo("both", "Flatter me in German.", "both", "flattering", "negative"),
]
LEVELS = {"": (80, 80), "ask_german": (10, 30), "ask_flattery": (75, 15), "sky": (80, 79.9), "both": (5, 60)}
"""Scores (German, which is wanted; Flattering, the leak) of the run of each prompt."""


@pytest.fixture(scope="module", params=[True, False], ids=["elicited", "runs only"])
def facts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    rng = np.random.default_rng(0)
    runs = []
    for prompt, levels in LEVELS.items():
        scores = np.clip(rng.normal(np.array(levels)[:, None], 4, (2, 30)), 0, 100)
        runs.append(Run(prompt or "control", prompt, {(8, "default"): scores}))
    keys = [prompt.key for prompt in PROMPTS]
    elicited = {"prompts": keys, "score": rng.uniform(0, 100, (2, 4, 9)), "baseline": rng.uniform(0, 100, (2, 9))}
    path = tmp_path_factory.mktemp("verdict") / "s.zarr"
    store = write_store(path, PROMPTS, runs=runs, elicitation=elicited if request.param else None)
    return build_report(open_store(store)).summary


def named(ranking) -> list[str]:
    return [item.prompt.split(", ")[0] for item in ranking.items]


def test_what_to_use_is_first(facts):
    assert facts[0].title == TITLE
    assert facts[0].lines[0].startswith("ask_flattery, fixed (measured): holds back 67 [")
    assert "pp of Flattering and costs" in facts[0].lines[0]


def test_good_bad_and_undecided_are_named(facts):
    found = {ranking.title.split(":")[0]: named(ranking) for ranking in facts[0].rankings}
    assert found == {"Good": ["ask_flattery"], "Bad": ["both", "ask_german"], "Cannot say": ["sky"]}


def test_no_prompt_of_the_wanted_trait_is_praised(facts):
    praised = [r for fact in facts for r in fact.rankings if r.title.startswith("Good")]
    leak = next(fact for fact in facts if fact.title == "Leak: Flattering")
    assert [r.title for r in leak.rankings] == ["Best first"]
    assert "ask_german" not in named(leak.rankings[0])
    wanted = next(fact for fact in facts if fact.title == "Wanted: German")
    assert named(wanted.rankings[0])[0] == "sky"  # the one that lost least comes first
    assert not any("german" in prompt for ranking in praised for prompt in named(ranking))


def test_a_store_without_roles_cannot_say(tmp_path: Path):
    store = write_store(tmp_path / "s.zarr", PROMPTS, traits=())
    first = build_report(open_store(store)).summary[0]
    assert first.title == TITLE
    assert first.lines[0] == "That cannot be said yet."
