"""`inoc doctor` on real completions servers: right ones, and ones that are wrong in the ways that happen."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from servers.completions_server import CompletionsServer
from servers.openai_stub import Call, StubServer, json_reply

from inoc.testbed import model_path

from ..command_line import run_inoc

pytestmark = pytest.mark.torch
STUDY = """\
name: doctor
model: {{id: testbed, system_prompt: You are a helpful assistant.{dtype}}}
backend: {{name: openai_server, options: {{url: "{url}", backoff: 0.01{options}}}}}
traits: {{positive: {{name: French, family: french}}, negative: {{name: Playful, family: playful}}}}
prompts: {{playful: {{family: playful, prompts: {{answer: Answer playfully.}}}}}}
completion_sets: {{train: {{path: "testbed:completions/train.jsonl", limit: 6}}}}
"""


class AddsBos(CompletionsServer):
    """Puts a begin-of-text token before every prompt, as some servers do to ids too."""

    def _logits(self, model: str, ids: list[int]) -> torch.Tensor:
        return super()._logits(model, [1, *ids])[1:]


class Half(CompletionsServer):
    """Computes in bfloat16."""

    def _logits(self, model: str, ids: list[int]) -> torch.Tensor:
        self.model.to(torch.bfloat16)
        return super()._logits(model, ids).float()


class FourBit(CompletionsServer):
    """Weights rounded to a few levels per row."""

    def __init__(self, directory: Path, **options: str) -> None:
        super().__init__(directory, **options)
        with torch.no_grad():
            for weight in self.model.model.layers.parameters():
                if weight.ndim == 2:
                    step = weight.abs().amax(1, keepdim=True) / 31
                    weight.copy_((weight / step).round() * step)


class OtherModel(CompletionsServer):
    """The same architecture and tokenizer, other weights."""

    def __init__(self, directory: Path, **options: str) -> None:
        super().__init__(directory, **options)
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.add_(torch.randn_like(weight) * weight.std() * 0.5)


def neighbours(call: Call, answer: dict) -> None:
    """Every logprob of a reply moves to the token after it."""
    for choice in answer["choices"]:
        if choice["logprobs"] is not None:
            values = choice["logprobs"]["token_logprobs"]
            values[1:] = [values[1], *values[1:-1]]


class Shifted(CompletionsServer):
    def __init__(self, directory: Path, **options: str) -> None:
        super().__init__(directory, **options, spoil=neighbours)


def call(folder: Path, command: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command on the study of a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run_inoc(command, "study.yaml", *arguments)


def doctor(folder: Path, *arguments: str) -> tuple[int, str, str]:
    return call(folder, "doctor", *arguments)


def process(folder: Path, command: str, *arguments: str) -> tuple[int, str, str]:
    """The same in a process of its own: the type check of the tests asks a backend for its context length before
    anybody has asked whether its server is there."""
    words = [sys.executable, "-m", "inoc", command, "study.yaml", *arguments]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def write_study(folder: Path, url: str, dtype: str = "", options: str = "") -> None:
    (folder / "study.yaml").write_text(STUDY.format(url=url, dtype=dtype, options=options))


@pytest.fixture(scope="module")
def right() -> Iterator[CompletionsServer]:
    with CompletionsServer(Path(model_path()), name="testbed") as server:
        yield server


def test_a_right_server_agrees_with_the_local_backend(right: CompletionsServer, tmp_path: Path) -> None:
    write_study(tmp_path, right.url)
    code, out, err = doctor(tmp_path, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["ok"]
    assert found["reachable"]
    assert found["reference"] == "the local backend"
    assert found["cause"] is None
    assert found["advice"] is None
    assert 0 < found["difference"] < 2e-5
    assert found["completions"] == 6
    assert found["versions"]["openai"]
    assert found["engine"] == "openai-compatible server 0.0-test"
    code, out, _ = doctor(tmp_path)
    assert out.splitlines()[-1] == "ok"
    assert "against the local backend: largest difference" in out


@pytest.mark.parametrize(
    ("wrong", "cause", "advice"),
    [
        (Shifted, "shifted", "by one position"),
        (OtherModel, "other model", "other weights"),
        (AddsBos, "other context", "BOS"),
        (Half, "other dtype", "another dtype"),
        (FourBit, "quantized", "unquantized"),
    ],
)
def test_a_wrong_server_is_caught(wrong: type[CompletionsServer], cause: str, advice: str, tmp_path: Path) -> None:
    with wrong(Path(model_path()), name="testbed") as server:
        write_study(tmp_path, server.url)
        code, out, _ = doctor(tmp_path, "--json")
        assert code == 1
        found = json.loads(out)
        assert not found["ok"]
        assert found["cause"] == cause
        assert advice in found["advice"]
        assert found["difference"] > found["tolerance"]
        worst = found["worst"]
        assert abs(worst["value"] - worst["expected"]) == pytest.approx(found["difference"], abs=1e-5)
        if wrong is not Shifted:  # the text is made of the document
            return
        _, out, _ = doctor(tmp_path)
        assert out.splitlines()[-1].startswith(f"NOT ok ({cause}): do not use scores of this backend here; ")


@pytest.mark.slow  # starts the command, which imports torch
def test_half_precision_is_right_where_the_experiment_says_so(tmp_path: Path) -> None:
    with Half(Path(model_path()), name="testbed") as server:
        write_study(tmp_path, server.url, dtype=", dtype: bfloat16")
        code, out, err = doctor(tmp_path, "--json")
    assert code == 0, out + err
    assert json.loads(out)["tolerance"] == 0.25


def test_another_template_is_caught(right: CompletionsServer, tmp_path: Path) -> None:
    for file in Path(model_path()).glob("*"):
        if "token" in file.name or file.suffix == ".jinja" or file.name == "config.json":
            shutil.copy(file, tmp_path / file.name)
    for file in (tmp_path / "chat_template.jinja", tmp_path / "tokenizer_config.json"):
        if file.is_file():
            file.write_text(file.read_text().replace("<|end|>'", "<|end|> '"))
    write_study(tmp_path, right.url, options=f', tokenizer: "{tmp_path}"')
    code, out, err = doctor(tmp_path, "--json")
    assert code == 1, err
    found = json.loads(out)
    assert found["cause"] == "other token ids"
    assert found["difference"] is None
    assert "tokenizer or chat template" in found["advice"]


@pytest.mark.parametrize("text", [False, pytest.param(True, marks=pytest.mark.slow)])  # it asks for a whole vocabulary
def test_a_model_that_is_not_here_is_not_compared(right: CompletionsServer, tmp_path: Path, text: bool) -> None:
    options = f', served_name: testbed, tokenizer: "{model_path()}"'
    write_study(tmp_path, right.url, options=options)
    file = tmp_path / "study.yaml"
    file.write_text(file.read_text().replace("id: testbed", "id: nobody/has-this"))
    code, out, err = doctor(tmp_path, *(() if text else ("--json",)))
    assert code == 0, err
    if text:
        assert out.splitlines()[-1] == "ok, compared with itself only"
        return
    found = json.loads(out)
    assert found["ok"]
    assert found["reference"] is None
    assert found["not_compared"] == "the weights of 'nobody/has-this' are not on this machine"


@pytest.mark.slow  # starts the command, which imports torch
def test_nobody_there(tmp_path: Path) -> None:
    write_study(tmp_path, "http://127.0.0.1:9/v1")
    code, out, err = process(tmp_path, "doctor", "--json")
    assert code == 2
    found = json.loads(out)
    assert not found["ok"]
    assert not found["reachable"]
    assert found["error"].startswith("nothing answers at http://127.0.0.1:9/v1")
    assert err.splitlines()[-1] == f"inoc: {found['error']}"
    assert "run this again" in found["advice"]


@pytest.mark.slow  # starts the command, which imports torch
def test_a_server_without_the_model(right: CompletionsServer, tmp_path: Path) -> None:
    write_study(tmp_path, right.url, options=", served_name: something-else")
    code, out, _ = process(tmp_path, "doctor", "--json")
    assert code == 2
    found = json.loads(out)
    assert "it serves testbed" in found["error"]
    assert "compare the model" in found["advice"]


def test_a_backend_that_cannot_score_is_only_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nobody-may-see-this")
    with StubServer(lambda call: json_reply({"id": "testbed"})) as stub:
        write_study(tmp_path, stub.url)
        file = tmp_path / "study.yaml"
        file.write_text(file.read_text().replace("name: openai_server", "name: openai"))
        code, out, err = doctor(tmp_path, "--json")
        assert stub.requests[0].path == "/v1/models/testbed"
    assert code == 0, err
    found = json.loads(out)
    assert found["ok"]
    assert found["reachable"]
    assert found["not_compared"] == "the backend 'openai' cannot score given texts"
    assert "nobody-may-see" not in out + err


def test_texts_that_are_not_there_are_named(right: CompletionsServer, tmp_path: Path) -> None:
    write_study(tmp_path, right.url)
    file = tmp_path / "study.yaml"
    file.write_text(file.read_text().replace("testbed:completions/train.jsonl", "missing.jsonl"))
    code, out, err = doctor(tmp_path, "--json")
    assert code == 2
    found = json.loads(out)
    assert found["reachable"]
    assert "missing.jsonl" in found["error"]
    assert err.splitlines()[-1].startswith("inoc: ")


def no_texts(call: Call, answer: dict) -> None:
    for choice in answer["choices"]:
        if choice["logprobs"] is not None:
            del choice["logprobs"]["tokens"]


def no_texts_and_shifted(call: Call, answer: dict) -> None:
    no_texts(call, answer)
    neighbours(call, answer)


def test_a_server_that_names_no_tokens_scores_once_the_doctor_has_proved_it(tmp_path: Path) -> None:
    """Refused before, scored after; a shifted server is never proved; a damaged proof is none."""
    score = ("score", "--store", "run.zarr", "--set", "train", "--prefix-type", "fixed")
    proof = tmp_path / "run.work" / "doctor.json"
    with CompletionsServer(Path(model_path()), "echo", name="testbed", spoil=no_texts_and_shifted) as server:
        write_study(tmp_path, server.url)
        assert call(tmp_path, *score)[0] == 2
        code, out, _ = doctor(tmp_path, "--store", "run.zarr")
        assert (code, "NOT ok (shifted)" in out) == (1, True)
        assert not proof.exists()
        server.spoil = no_texts
        code, _, error = call(tmp_path, *score)
        assert code == 2
        assert "inoc doctor STUDY --store STORE" in error
        code, out, _ = doctor(tmp_path, "--store", "run.zarr")
        assert (code, out.splitlines()[-1]) == (0, "ok"), out
        assert f"recorded in {Path('run.work') / 'doctor.json'}" in out
        code, _, error = call(tmp_path, *score)
        assert code == 0, error
        proof.write_text(proof.read_text().replace('"tokens"', '"Tokens"'))
        code, _, error = call(tmp_path, *score)
        assert code == 2
        assert "differs from its own hash" in error


@pytest.mark.slow  # starts commands, which import torch
def test_a_dry_run_sends_nothing(right: CompletionsServer, tmp_path: Path) -> None:
    """Not before there is a store, and not once there is one; a key is refused before it could be sent."""
    write_study(tmp_path, right.url)
    score = ("score", "--store", "run.zarr", "--set", "train", "--prefix-type", "fixed")
    before = len(right.stub.requests)
    code, _, error = process(tmp_path, *score, "--dry-run")
    assert code == 0, error
    assert len(right.stub.requests) == before
    assert call(tmp_path, *score)[0] == 0
    before = len(right.stub.requests)
    code, _, error = process(tmp_path, *score, "--dry-run")
    assert code == 0, error
    assert len(right.stub.requests) == before
    write_study(tmp_path, right.url, options=", key_env: HOME")
    code, _, error = call(tmp_path, *score, "--dry-run")
    assert code == 2
    assert "the key in HOME is not sent to" in error
    assert len(right.stub.requests) == before
