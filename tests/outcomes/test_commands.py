"""`inoc predict` and `inoc recommend` where little is known: readable at 80 columns, complete as JSON."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ..command_line import run_inoc
from ..conformance.matrix import registered
from ..figures.worlds import write_world
from .test_recommend import base_store

COMMANDS = ("predict", "recommend")


def half_known(w):
    """A heuristic of another package that says nothing about every second prompt."""
    found = np.nanmean(w, axis=-1)
    found[..., 1::2] = np.nan
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("worlds") / "world.zarr", each=6, trained=3, more=False)


@pytest.fixture
def plugin() -> Iterator[str]:
    with registered(half_known) as (name,):
        yield name


def answer(command: str, *words: object) -> str:
    """The text, after it was seen to be readable and the JSON of the same call to be one."""
    code, out, err = run_inoc(command, *words)
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= 80
    assert "nan" not in out.lower().split()
    code, document, err = run_inoc(command, *words, "--json")
    assert code == 0, err
    json.loads(document, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_plugin_heuristic_that_is_missing_for_half_of_the_prompts(command: str, world: Path, plugin: str) -> None:
    """No prompt is lost, also where the heuristic is named."""
    named = ("--heuristics", f"elicitation,{plugin}") if command == "predict" else ()
    said = answer(command, "--store", world, *named)
    assert {f"german_prompt_number_{i}" for i in (4, 5)} <= set(re.findall(r"german_prompt_number_\d", said))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("prompts", [1, pytest.param(2, marks=pytest.mark.slow), 3])
def test_one_to_three_prompts(command: str, prompts: int, tmp_path: Path) -> None:
    said = answer(command, "--store", base_store(tmp_path / "few.zarr", control=True, prompts=prompts))
    assert len(set(re.findall(r"(?:playful|french)\d", said))) == prompts


@pytest.mark.parametrize("command", COMMANDS)
def test_elicitation_only(command: str, tmp_path: Path) -> None:
    """What is not answered is named as left out."""
    said = answer(command, "--store", base_store(tmp_path / "elicited.zarr", logprobs=False))
    assert len(set(re.findall(r"(?:playful|french|neutral)\d", said))) == 6
