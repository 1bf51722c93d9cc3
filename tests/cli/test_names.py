"""A misspelled name anywhere on the command line is one sentence with the nearest name; the shell completes names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

import inoc
from inoc.cli import COMMANDS, cli, load
from inoc.cli.options import Choice

from ..command_line import run_inoc

EXAMPLES = Path(__file__).parents[2] / "examples" / "logprobs"
STUDY = """\
name: typos
model: {id: testbed}
scores:
  French: {judge: {kind: lexical, lexicon: testbed_french}, role: positive}
  Playful: {judge: {kind: lexical, lexicon: testbed_playful}, role: negative}
prompts:
  strong: {family: playful, prompts: {answer_playfully: Answer playfully.}}
completion_sets:
  train: {path: "testbed:completions/train.jsonl", limit: 10}
  control: {generate: {n: 5}}
rephrasings: {path: "testbed:rephrasings", size: 20}
training: {runs: [{prefix_types: [none]}, {prompts: [strong]}]}
evaluation: {questions: {path: "testbed:instructions/evaluation.jsonl", n: 10}, prefills: {source: run}}
"""
LINES = """\
heuristics --store S --only gama
heuristics --store S --sort gama
heuristics --store S --prompts answer_playfuly
heuristics --store S --set trian
heuristics --store S --recipe publishd
heuristics --store S --engine numpi
heuristics --store S --prefix-type fixd
heuristics --stor S
heuristcs --store S
outcomes --store S --trait Playfull
outcomes --store S --prompts answer_playfuly
outcomes --store S --heuristics gama
outcomes --store S --over seed
predict --store S --trait Playfull
predict --store S --prompts answer_playfuly
predict --store S --heuristics gama
predict --store S --model gat
predict --store S --control Playfull=5
recommend --store S --prompts answer_playfuly
recommend --store S --control Playfull=5
figures --store S --out f --only elicitatoin
figures --store S --out f --format pgn
figures --store S --out f --heuristics gama
report --store S --set trian -o r.html
view S --set trian
compare S S --run answer_playfuly-fixed --run no_inoculation
answers --store S --run answer_playfuly-fixed
export --store S --to cvs --out x
export --store S --to csv --out x --columns prmpt
import S.json --store x.zarr --format lm_evl
new-plugin heuristc wiggle
demo --study mods
doctor --backend locl
run F --store R --stages scor
run F --store R --backend locl
run F --store R --watch jsnl=x
score F --store R --set trian
score F --store R --prompts answer_playfuly
score F --store R --prefix-type fixd
train F --store R --runs answer_playfuly-fixed-s0
evaluate F --store R --runs answer_playfuly-fixed-s0
prefill F --store R --runs answer_playfuly-fixed-s0
elicit F --store R --prompts answer_playfuly
generate F --store R --set contrl
rephrase F --prompts answer_playfuly
probe F --store R --kind gradiant
probe F --store R --prompts answer_playfuly
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of ten prompts and four runs, and a study."""
    folder = tmp_path_factory.mktemp("names")
    files = (f"--{name}={EXAMPLES / f'{name}.json'}" for name in ("prompts", "elicitation", "scores"))
    code, _, err = run_inoc("import", str(EXAMPLES / "logprobs.json"), *files, f"--store={folder / 'S.zarr'}")
    assert code == 0, err
    (folder / "F.yaml").write_text(STUDY)
    (folder / "S.json").write_text("{}")
    return folder


@pytest.mark.parametrize("line", LINES.splitlines())
def test_the_nearest_name_is_offered(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    places = {"S": "S.zarr", "R": "R.zarr", "F": "F.yaml"}
    code, _, err = run_inoc(*(places.get(word, word) for word in line.split()))
    assert code == 2, err
    assert "did you mean" in err.lower()
    assert not (folder / "R.zarr").exists()


def test_every_choice_offers_the_nearest_name() -> None:
    import click

    params = [(name, param) for name in COMMANDS for param in load(name).params]
    choices = [(name, param.name) for name, param in params if isinstance(param.type, click.Choice)]
    ours = [(name, param.name) for name, param in params if isinstance(param.type, Choice)]
    assert choices == ours
    assert len(ours) >= 12


def completions(line: str) -> list[str]:
    """What the shell offers for the last word of a line."""
    *words, last = line.split(" ")
    return [item.value for item in ShellComplete(cli, {}, "inoc", "_INOC_COMPLETE").get_completions(words, last)]


def test_the_shell_completes_commands_options_and_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert completions("heur") == ["heuristics"]
    assert "--only" in completions("heuristics --on")
    assert completions("heuristics --only ph,gam") == ["ph,gamma", "ph,gamma_mix"]
    assert completions("heuristics --recipe p") == ["published"]
    assert completions("heuristics --store S.zarr --prompts answer_") == ["answer_playfully", "answer_french"]
    assert completions("recommend --store S.zarr --prompts sky_is_blue,be") == ["sky_is_blue,be_concise"]
    assert completions("score F.yaml --prompts answer_") == ["answer_playfully"]
    assert completions("score gone.yaml --prompts answer_") == []
    assert completions("heuristics --store gone.zarr --prompts a") == []
    assert completions("heuristics --prompts a") == []
    assert completions("figures --only losses,scatter_b") == ["losses,scatter_basic_fixed", "losses,scatter_basic_mix"]
    assert completions("figures --only spec")[0] == "spectra"
    traits = [trait.name for trait in inoc.open_store("S.zarr").traits]
    assert traits
    assert completions("predict --store S.zarr --trait ") == traits
    assert completions(f"outcomes --store S.zarr --trait {traits[0][:2]}") == traits[:1]
    runs = list(inoc.open_store("S.zarr").runs)
    assert completions("answers --store S.zarr --run ") == completions("compare S.zarr --run ") == runs
    assert completions("answers --store gone.zarr --run a") == []


def test_the_documented_line_prints_a_script_of_the_shell() -> None:
    environment = {**os.environ, "_INOC_COMPLETE": "bash_source"}
    done = subprocess.run(
        [sys.executable, "-c", "from inoc.cli import main; main()"], env=environment, capture_output=True, text=True
    )
    assert "_INOC_COMPLETE=bash_complete" in done.stdout, done.stderr
