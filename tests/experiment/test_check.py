"""Every problem of an experiment file in one go, each with its line and its mend."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from inoc.cli import main
from inoc.errors import BadInput
from inoc.experiment import check_experiment, load_experiment
from inoc.experiment.yaml_file import parse_yaml

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
GOOD = """\
name: study
model: {id: testbed}
scores:
  French: {role: positive}
  Playful: {role: negative}
prompts:
  strong:
    family: playful
    prompts:
      answer: Answer playfully.
      clown: You are a clown.
  plain: {family: neutral, prompts: {sky: The sky is blue.}}
completion_sets:
  train: {path: train.jsonl}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text('{"instruction": "Hi", "completion": "Salut !"}\n')
    path = tmp_path / "study.yaml"
    path.write_text(GOOD)
    return path


def problems(path: Path, text: str) -> list[str]:
    path.write_text(text)
    experiment, found = check_experiment(path)
    assert (experiment is None) == any(problem.severity == "error" for problem in found)
    return [str(problem) for problem in found]


def replaced(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_good_file_has_no_problem(study: Path) -> None:
    experiment, found = check_experiment(study)
    assert found == []
    assert experiment is not None
    assert [prompt.key for prompt in experiment.prompt_list()] == ["answer", "clown", "sky"]
    assert [prompt.role for prompt in experiment.prompt_list()] == ["negative", "negative", "neutral"]
    assert experiment.completion_path("train") == study.parent / "train.jsonl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (replaced("name: study\n", ""), "name"),
        (
            replaced("model: {id: testbed}", "model: {id: testbed, dtyp: float32}"),
            "line 2: model.dtyp: unknown field 'dtyp'. Fix: did you mean 'dtype'?",
        ),
        (
            replaced("model: {id: testbed}", "model: {id: testbed, dtype: float64}"),
            "line 2: model.dtype: must be 'float32', 'bfloat16' or 'float16' (it is \"float64\").",
        ),
        (
            replaced("model: {id: testbed}", "modle: {id: testbed}"),
            "line 2: modle: unknown field 'modle'. Fix: did you mean 'model'?",
        ),
        (
            replaced("family: playful\n", "family: playfull\n"),
            "line 8: prompts.strong.family: unknown family 'playfull'. Fix: did you mean 'playful'?",
        ),
        (
            replaced("      clown: You are a clown.", "      clown: 3"),
            "line 11: prompts.strong.prompts.clown: not text",
        ),
        (
            replaced("      clown: You are a clown.", "      clown: ''"),
            "line 11: prompts.strong.prompts.clown: must not be empty",
        ),
        (
            replaced("      clown: You are a clown.", "      clown: 'a '"),
            "line 11: prompts.strong.prompts.clown: the text begins or ends with white space",
        ),
        (
            replaced("      clown: You are", "      answer: You are"),
            "line 11: prompts.strong.prompts.answer: this key is given twice, first on line 10",
        ),
        (
            replaced("{sky: The sky", "{clown: The sky"),
            "line 12: prompts.plain.prompts.clown: the key 'clown' is also in group 'strong'",
        ),
        (replaced("train.jsonl}", "trian.jsonl}"), "line 14: completion_sets.train.path:"),
        (
            replaced("{path: train.jsonl}", "{path: train.jsonl, limit: true}"),
            "line 14: completion_sets.train.limit: must be a whole number (it is true).",
        ),
        (replaced("{path: train.jsonl}", "{}"), "line 14: completion_sets.train: has no texts. Fix: add `path`"),
        (
            replaced("{path: train.jsonl}", "{path: train.jsonl, prefix_types: [mix]}"),
            "line 14: completion_sets.train.prefix_types: mix needs rephrasings. Fix: add a `rephrasings` section.",
        ),
        (
            replaced("French: {role", "French: {judge: {kind: logprb}, role"),
            "line 4: scores.French.judge: kind must be one of 'logprob', 'chat', 'language'",
        ),
        (
            replaced("Playful: {role: negative}", "Playful: {role: negative, rate: 'French > 5 and'}"),
            "line 5: scores.Playful: the rate 'French > 5 and', at character 15 (the end): expected a number",
        ),
        (
            replaced("Playful: {role: negative}", "Playful: {role: negative, rate: Frnch > 5}"),
            "line 5: scores.Playful.rate: unknown score with a judge 'Frnch'. Fix: did you mean 'French'?",
        ),
        (
            replaced("Playful: {role: negative}", "Playful: {role: negative, family: french}"),
            "line 5: scores.Playful: the family 'french' is also that of 'French', which has the other role.",
        ),
        (
            GOOD + "training: {runs: [{prompts: [clwn]}]}\n",
            "line 15: training.runs[0].prompts[0]: unknown prompt or group 'clwn'. Fix: did you mean 'clown'?",
        ),
        (
            GOOD + "training: {runs: [{prompts: [clown], overrides: {rnk: 8}}]}\n",
            "training.runs[0].overrides.rnk: unknown setting of training 'rnk'. Fix: did you mean 'rank'?",
        ),
        (
            GOOD + "training: {runs: [{prompts: [clown], overrides: {rank: big}}]}\n",
            'training.runs[0].overrides.rank: must be a whole number (it is "big").',
        ),
        (
            GOOD + "training: {runs: [{prompts: all}, {prompts: [clown]}]}\n",
            "two runs are named 'clown-fixed-s0'. Fix: give one line a `tag`.",
        ),
        (
            GOOD + "training: {learning_rate: -1}\n",
            "line 15: training.learning_rate: should be greater than 0 (it is -1).",
        ),
        (GOOD + "  train: {path: x}\n", "line 15: completion_sets.train: this key is given twice, first on line 14"),
        (GOOD + "name: [\n", "not valid YAML"),
        ("\tname: x\n", "spaces, not tabs"),
        ("", "the file is empty"),
        ("- a\n", "not a mapping of fields"),
    ],
)
def test_each_problem_names_line_field_and_fix(study: Path, text: str, expected: str) -> None:
    found = problems(study, text)
    assert any(expected in line for line in found), found


def test_all_problems_at_once_without_follow_ups(study: Path) -> None:
    text = replaced("model: {id: testbed}", "model: {id: testbed, dtyp: x}")
    text = text.replace("family: playful\n", "family: playfull\n").replace("train.jsonl", "gone.jsonl")
    text += "training: {rank: 0, runs: [{prompts: [nobody]}]}\n"
    text = text.replace("{role: positive}", "{role: positive, judge: {kind: nothing}}")
    assert [line.split(":")[0] for line in problems(study, text)] == [f"line {n}" for n in (2, 4, 8, 14, 15, 15)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("api_key", "x"),
        ("apiKey", "abc"),
        ("password", "p"),
        ("hub_token", "t"),
        ("header", "sk-abc123"),
        ("h", "hf_abcdefgh1"),
    ],
)
def test_secrets_are_refused_and_never_shown(study: Path, field: str, value: str) -> None:
    found = problems(study, GOOD + f"backend: {{name: local, options: {{{field}: {value}}}}}\n")
    (line,) = [line for line in found if "secret" in line]
    assert f"line 15: backend.options.{field}: looks like a secret" in line
    assert value not in line.replace(field, "").split("looks")[1] or len(value) == 1


def test_secret_in_an_unknown_field_is_not_echoed(study: Path) -> None:
    found = problems(study, replaced("{id: testbed}", "{id: testbed, api_key: verysecretvalue}"))
    assert len(found) >= 1
    assert all("verysecretvalue" not in line for line in found)


def test_scalars_are_yaml_1_2() -> None:
    document = parse_yaml("a: no\nb: 1e-4\nc: 2024-01-01\nd: 0o17\ne: true\nf: ~\ng: 12:30\nh: .5\n")
    assert document.data == {
        "a": "no", "b": 1e-4, "c": "2024-01-01", "d": "0o17", "e": True, "f": None, "g": "12:30", "h": 0.5,
    }  # fmt: skip


def test_broken_rows_of_named_files_are_problems(study: Path) -> None:
    (study.parent / "train.jsonl").write_text('{"instruction": "Hi", "completion": "x"}\n{oops\n')
    (line,) = problems(study, GOOD)
    assert line.startswith("line 14: completion_sets.train.path:")
    assert "train.jsonl, line 2: not JSON" in line


def test_training_files_are_read_too(study: Path) -> None:
    """A set that inoc makes first may be a run's data; a mixture that cannot be made is a problem."""
    more = """  control: {generate: {n: 5}}
training:
  runs:
    - {prefix_types: [none]}
    - {prefix_types: [none], tag: b, data: broken.jsonl}
    - {prefix_types: [none], tag: c, data: generated/study/control.jsonl}
    - {prefix_types: [none], tag: d, data: [{path: train.jsonl}, {path: gone.jsonl, share: 0.5}]}
    - {prefix_types: [none], tag: e, data: [{path: train.jsonl, n: 1000}]}
"""
    (study.parent / "broken.jsonl").write_text('{"instruction": "Hi"}\n')
    found = [text for text in problems(study, GOOD + more) if "note" not in text]
    assert len(found) == 3
    assert "training.runs[1].data" in found[0]
    assert "broken.jsonl, line 1: the completion is missing" in found[0]
    assert f"training.runs[3].data: {study.parent / 'gone.jsonl'} does not exist. Fix: correct the path" in found[1]
    assert "training.runs[4].data: data: 1000 rows of train.jsonl are asked for" in found[2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[{path: a.jsonl, n: 1, share: 0.5}]", "data[0]: has both `n` and `share`. Fix: "),
        ("[{path: a.jsonl, share: 0.5}, {path: b.jsonl, share: 0.4}]", "the shares add up to 0.9. Fix: "),
        ("[{path: a.jsonl, share: 1}, {path: b.jsonl}]", "leave no room for the other rows. Fix: "),
        ("[{path: a.jsonl, prefix: ' x'}]", "begins or ends with white space. Fix: "),
        ("[{path: a.jsonl, wher: {tag: x}}]", "'wher'"),
    ],
)
def test_entries_of_data_are_checked(study: Path, data: str, message: str) -> None:
    found = problems(study, GOOD + f"training: {{runs: [{{prefix_types: [none], data: {data}}}]}}\n")
    assert any(message in text for text in found), found


def test_missing_optional_file_is_a_note(study: Path) -> None:
    (line,) = problems(study, replaced("{path: train.jsonl}", "{path: later.jsonl, optional: true}"))
    assert "note: completion_sets.train.path" in line


def test_a_name_too_long_for_a_file_is_a_missing_file(study: Path) -> None:
    long = "a" * 300
    text = replaced("train.jsonl", long).replace("id: testbed", f"id: {long}")
    text += f"  made: {{dataset: {{name: {long}}}}}\nrephrasings: {{path: {long}}}\n"
    text += f"training: {{runs: [{{prefix_types: [none], data: [{{path: b{long}}}]}}]}}\n"
    text += f"evaluation: {{questions: {{general: {{path: {long}}}}}}}\n"
    errors = [problem for problem in problems(study, text) if "error" in problem or "Fix" in problem]
    assert sum(f"{long} does not exist" in error for error in errors) == 3
    assert any("there is no folder" in error for error in errors)


def test_load_raises_with_every_problem(study: Path) -> None:
    study.write_text(replaced("model: {id: testbed}", "model: {idd: testbed}"))
    with pytest.raises(BadInput, match=r"has 2 problems:\n  line 2: model.*\n  line 2: model"):
        load_experiment(study)
    with pytest.raises(BadInput, match=r"does not exist\. Fix: `inoc new"):
        load_experiment(study.parent / "nothing.yaml")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_pass(path: Path) -> None:
    experiment, found = check_experiment(path)
    assert experiment is not None, [str(problem) for problem in found]
    assert experiment.runs()


def test_the_studies_prompts_are_complete() -> None:
    playful = load_experiment(ROOT / "examples" / "playful_french_7b.yaml")
    sizes = {name: len(group.prompts) for name, group in playful.prompts.items()}
    assert sizes == {"v3": 9, "v4": 6, "v5": 6, "neg": 6}
    misaligned = load_experiment(ROOT / "examples" / "emergent_misalignment_32b.yaml")
    assert len(misaligned.prompt_list()) == 8
    assert len(misaligned.runs()) == 27
    assert [run.name for run in misaligned.runs()[-1:]] == ["no_inoculation-s0-subtle"]
    assert misaligned.placement == "system"


def test_new_then_check_then_refuse_to_overwrite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def inoc(*args: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["inoc", *args])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), out.getvalue(), err.getvalue()

    monkeypatch.chdir(tmp_path)
    assert inoc("new", "study.yaml")[0] == 0
    code, out, _ = inoc("check", "study.yaml")
    assert code == 0, out
    assert "study.yaml: ok; 5 prompts" in out
    code, _, err = inoc("new", "study.yaml")
    assert code == 2
    assert "exists" in err
    assert "Traceback" not in err
    (tmp_path / "study.yaml").write_text("name: a b\n")
    code, out, _ = inoc("check", "study.yaml", "--json")
    assert code == 2
    assert '"line": 1' in out


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("{name: openai_server, options: {base_url: x}}", "unknown option of the backend openai_server 'base_url'"),
        ("{name: tinker, options: {speed: 3}}", "unknown option of the backend tinker 'speed'"),
        ("{name: openweights, options: {poll: soon}}", "option 'poll' of the backend openweights is 'soon'"),
        ("{name: openai, options: {poll_second: 3}}", "Fix: did you mean 'poll_seconds'?"),
        ("{name: vllm, options: {max_model_len: -1}}", "max_model_len"),
        ("{options: {rows: many}}", "rows"),
    ],
)
def test_options_of_the_backend_are_checked_with_their_line(study: Path, backend: str, message: str) -> None:
    text = study.read_text()
    study.write_text(f"{text}backend: {backend}\n")
    command = [sys.executable, "-c", "from inoc.cli import main; main()", "check", str(study)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{study}: line {len(text.splitlines()) + 1}: backend.options: ")
    assert message in line


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)
)
MERGES = "m0: &m0 {a: 1}\n" + "".join(f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "values with anchors written out"),
        (MERGES, "values with anchors written out"),
        ("name: &a [*a]", "never ends"),
        ("&a {name: *a}", "never ends"),
        ("&a ? *a\n: b", "not valid YAML"),
        ("? [a, b]\n: c", "a list or mapping is not a key"),
        ("name: " + "[" * 100 + "]" * 100, "nested deeper than 64"),
        ("name: " + "[" * 5000, "nested deeper than 64"),
        ("name: !!binary aGVsbG8=", "the tag tag:yaml.org,2002:binary is not read"),
        ("name: !!timestamp 2024-01-01", "timestamp is not read"),
        ("name: !!set {a, b}", "set is not read"),
        ("name: !!python/object/apply:os.system [ls]", "os.system is not read"),
        ("name: !!bool maybe", "not valid YAML"),
        ("name: !!int x", "not valid YAML"),
        ('name: "a\\x1b[2Jb"', "control character"),
        ('name: "\\0"', "control character"),
        ('name: "\\ud800"', "half a character"),
        ('"\\x1b": 1', "control character"),
        ("name: \x01", "not valid YAML"),
        (f"name: {'9' * 5000}", "beyond 64 bits"),
        (f"name: {10**30}", "beyond 64 bits"),
        ("name: 1e999", "not a finite number"),
        ("name: " + "x" * (1 << 20), "at most 1,048,576 are read"),
        (replaced("answer:", "a" * 300 + ":"), "at most 100 characters"),
    ],
)
def test_a_hostile_file_is_a_sentence(study: Path, text: str, expected: str) -> None:
    study.write_text(text)
    with pytest.raises(BadInput) as caught:
        load_experiment(study)
    assert expected in str(caught.value)
    assert "\x1b" not in str(caught.value)
