"""Bad inputs: no traceback, no hang, and a refusal changes nothing on the disk."""

import shutil
from pathlib import Path

import pytest

from ..tally import count
from .attempt import attempt, state
from .cases import case

CODES = {0, 1, 2, 3, 4}
READS = {"check", "info", "validate", "heuristics", "outcomes", "predict", "backends", "doctor"}


def survives(seed: int, world: Path, tmp_path: Path) -> list[str]:
    """What is wrong with how inoc ends on the case of a seed; nothing where it survives."""
    folder, logs = tmp_path / "world", tmp_path / "logs"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(world, folder)
    logs.mkdir(exist_ok=True)
    spoiled = case(seed, folder)
    before = state(folder)
    done = attempt(spoiled.arguments, logs)
    wrong: list[str] = []
    if done.log or "Traceback" in done.said:
        wrong.append(f"an error nobody foresaw: {done.said}\n{done.log}")
    if done.code not in CODES:
        wrong.append(f"exit code {done.code}")
    if done.code and not done.said.strip():
        wrong.append("refused without a word")
    if "\x1b" in done.said:
        wrong.append("a control character on the terminal")
    quiet = done.code != 0 or "--dry-run" in spoiled.arguments or set(spoiled.arguments[:1]) <= READS
    if quiet and (after := state(folder)) != before:
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        wrong.append(f"changed the disk (exit code {done.code}): {changed[:5]}")
    count(f"bad input: {spoiled.kind}", not wrong)
    return [f"seed {seed}, inoc {' '.join(spoiled.arguments)[:300]} ({spoiled.what[:200]}): {w}" for w in wrong]


@pytest.mark.parametrize("block", range(12))
@pytest.mark.robust
def test_bad_inputs(block: int, world: Path, tmp_path: Path) -> None:
    wrong = [line for seed in range(100 * block, 100 * block + 100) for line in survives(seed, world, tmp_path)]
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.torch
def test_some_bad_inputs(world: Path, tmp_path: Path) -> None:
    wrong = [line for seed in range(5000, 5006) for line in survives(seed, world, tmp_path)]
    assert not wrong, "\n\n".join(wrong)
