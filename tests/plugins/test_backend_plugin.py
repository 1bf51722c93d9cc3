"""A third party's backend: installed with pip, found by its entry point, through the suites, and in the docs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inoc.cli.new_plugin import package

from ..command_line import run_inoc, with_path

PLUGIN = package("backend", "bigram")
PAGE = Path(__file__).parents[2] / "docs" / "write-a-backend.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder pip installed what `inoc new-plugin backend bigram` writes into."""
    root = tmp_path_factory.mktemp("plugin")
    assert run_inoc("new-plugin", "backend", "bigram", "--out", root / "source")[0] == 0
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "-q", *options, "--target", str(root / "site")]
    subprocess.run([*command, str(root / "source")], check=True, capture_output=True, timeout=120)
    return root / "site"


def run_with(installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=with_path(installed), timeout=120
    )


def test_is_found_by_its_entry_point(installed: Path) -> None:
    code = """
import json
from inoc.backends import list_backends, load_backend
from inoc.backends.protocols import Backend, ModelSpec, Sampler, Scorer, Trainer
info = {info.name: info for info in list_backends()}["bigram"]
backend = load_backend("bigram", ModelSpec(__import__("os").__file__))
kinds = [isinstance(backend, kind) for kind in (Backend, Scorer, Sampler, Trainer)]
print(json.dumps([info.package, info.usable, info.capabilities.score, info.capabilities.train, kinds]))
"""
    run = run_with(installed, "-W", "ignore", "-c", code)
    assert json.loads(run.stdout) == ["inoc-bigram", True, True, False, [True, True, True, False]], run.stderr


def test_passes_the_conformance_suites(installed: Path) -> None:
    source = installed.parent / "source" / "test_bigram.py"
    run = run_with(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(source))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "22 passed, 1 skipped" in run.stdout, run.stdout


def test_the_suites_catch_a_backend_that_is_wrong(installed: Path, tmp_path: Path) -> None:
    """Off by one, cut completions, a shared stream, rows mixed up in a crowd: each fails a test that names it."""
    (tmp_path / "test_broken.py").write_text(
        PLUGIN["test_bigram.py"]
        + """

import numpy as np
from dataclasses import replace


class OffByOne(BigramBackend):
    def score(self, requests):
        for request, result in zip(requests, super().score(requests)):
            yield replace(result, logprobs=np.roll(result.logprobs, 1))


class Short(BigramBackend):
    def score(self, requests):
        for result in super().score(requests):
            yield replace(result, logprobs=result.logprobs[:5])


class OneStream(BigramBackend):
    def sample(self, requests, sampling):
        for place, request in enumerate(requests):
            for result in super().sample([replace(request, id=str(place))], sampling):
                yield replace(result, id=request.id)


class Hot(BigramBackend):
    def sample(self, requests, sampling):
        return super().sample(requests, replace(sampling, temperature=sampling.temperature * 2))


class Crowded(BigramBackend):
    def sample(self, requests, sampling):
        seen = [replace(r, context=requests[place % 20].context) for place, r in enumerate(requests)]
        return super().sample(seen, sampling)


@pytest.fixture(scope="module", params=[OffByOne, Short, OneStream, Hot, Crowded], ids=lambda kind: kind.__name__)
def backend(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("bigram") / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 20)
    return request.param.from_spec(ModelSpec(str(path)))
"""
    )
    named = (
        "TestScoring::test_first_token_and_chain[OffByOne]",
        "TestScoring::test_known_next_token_table[OffByOne]",
        "TestScoring::test_one_logprob_per_token[Short]",
        "TestSampling::test_company_does_not_matter[OneStream]",
        "TestSampling::test_distribution[Hot-1.0]",
        "TestSampling::test_many_requests_with_ragged_ends[Crowded]",
    )
    tests = [f"{tmp_path / 'test_broken.py'}::{test}" for test in named]
    run = run_with(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert f"{len(named)} failed in" in run.stdout, run.stdout[-3000:]


@pytest.mark.parametrize("file", ["pyproject.toml", "inoc_bigram/__init__.py", "test_bigram.py"])
def test_the_page_shows_the_plugin_as_it_is(file: str) -> None:
    assert PLUGIN[file] in PAGE.read_text(), f"docs/write-a-backend.md shows another {file}"
