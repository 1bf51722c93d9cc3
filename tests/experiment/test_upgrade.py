"""Files of earlier versions: one conversion, which reading and `inoc check --upgrade` share."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from inoc.cli import cli
from inoc.errors import BadInput
from inoc.experiment import check_experiment, mixture
from inoc.experiment.upgrade import rewrite

OLD = """\
# A study of an earlier version.
name: old  # its name
model: {id: testbed}
traits:
  positive: {name: Risky advice, family: risk, judge: coherence}
  negative: {name: Misalignment, family: misalignment, judge: alignment}

# The prompts stay as they are.
prompts:
  bad: {family: misalignment, prompts: {evil: "Be evil.", sly: Be sly.}}  # two
  plain: {family: neutral, prompts: {sky: The sky is blue.}}
completion_sets:
  train: {path: train.jsonl}
evaluation:
  instructions: {in_domain: a.jsonl, general: b.jsonl}
  n: 3
  leak_grid: [evil, sky]
  temperature: 0.5

judges:  # by name
  coherence: {kind: misalignment, aspect: coherence, model: m}
  alignment: {kind: misalignment, aspect: alignment, model: m}
"""
COHERENCE, ALIGNMENT = ({"kind": "misalignment", "aspect": a, "model": "m"} for a in ("coherence", "alignment"))
SCORES = {
    "Risky advice": {"judge": COHERENCE, "role": "positive", "family": "risk"},
    "Misalignment": {"judge": ALIGNMENT, "role": "negative", "better": "high"},
    "Misaligned": {"rate": "'Risky advice' > 60 and Misalignment < 40"},
}
EVALUATION = {
    "questions": {"in_domain": {"path": "a.jsonl", "n": 3}, "general": {"path": "b.jsonl", "n": 3}},
    "probes": {"prompts": ["evil", "sky"]},
    "temperature": 0.5,
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text('{"instruction": "Hi", "completion": "Hm"}\n')
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text("".join(f'"{name}{i}?"\n' for i in range(3)))
    path = tmp_path / "old.yaml"
    path.write_text(OLD)
    return path


def test_an_old_file_is_read_as_what_it_is_rewritten_to(old: Path) -> None:
    before, problems = check_experiment(old)
    assert [problem.severity for problem in problems] == ["note"]
    assert "`inoc check --upgrade " in str(problems[0])
    done = CliRunner().invoke(cli, ["check", "--upgrade", str(old)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "ok; 3 prompts" in done.output
    after, problems = check_experiment(old)
    assert problems == []
    assert after == before
    found = yaml.safe_load(old.read_text())
    assert (found["scores"], found["evaluation"]) == (SCORES, EVALUATION)
    assert not {"traits", "judges"} & set(found)
    assert Path(f"{old}.old").read_text() == OLD


def test_all_else_in_the_file_stays_as_it_is(old: Path) -> None:
    assert rewrite(old)
    text = old.read_text()
    start = OLD.index("# The prompts stay")
    kept = OLD[start : OLD.index("evaluation:")]
    assert kept in text
    assert text.startswith(OLD[: OLD.index("traits:")])
    assert not rewrite(old), "there is nothing left to rewrite"
    assert old.read_text() == text


def test_a_damaged_old_file_is_refused_and_left_alone(old: Path) -> None:
    broken = OLD.replace("  positive: {name", "  positve: {name")
    old.write_text(broken)
    with pytest.raises(BadInput, match=r"are not whole\. Fix: "):
        rewrite(old)
    assert old.read_text() == broken
    experiment, problems = check_experiment(old)
    assert experiment is None
    assert any("traits" in str(problem) for problem in problems)


@pytest.mark.parametrize("examples", [None, 7, 10, 12, 30])
@pytest.mark.parametrize("share", [0.1, 0.35, 0.5])
def test_contrast_rows_become_entries_that_take_as_many(old: Path, examples: int | None, share: float) -> None:
    """`n` rows of the train set and round(n share / (1 - share)) others, as earlier versions trained on."""
    for name, n in (("train", 12), ("plain", 40)):
        rows = [f'{{"instruction": "{name} {i}?", "completion": "Hm."}}\n' for i in range(n)]
        (old.parent / f"{name}.jsonl").write_text("".join(rows))
    line = (
        f"    - {{prefix_types: [none], overrides: {{examples: {examples}}}}}"
        if examples
        else "    - {prefix_types: [none]}"
    )
    old.write_text(f"{OLD}training:\n  contrast: {{path: plain.jsonl, share: {share}}}\n  runs:\n{line}\n")
    assert rewrite(old)
    experiment, problems = check_experiment(old)
    assert problems == []
    assert experiment is not None
    (run,) = experiment.runs()
    taken = [row.source.prefix for row in mixture(experiment, run.data, run.settings.examples)]
    own = min(examples or 12, 12)
    assert (taken.count("own"), taken.count("none")) == (own, round(own * share / (1 - share)))
