"""Discovery: other people's packages, broken ones, missing libraries, unknown names; nothing heavy is imported."""

import json
import subprocess
import sys
import warnings
from collections.abc import Generator
from pathlib import Path

import pytest

from inoc.backends import base, list_backends, load_backend, registry
from inoc.backends.protocols import ModelSpec
from inoc.errors import BackendUnavailable, BadInput

SPEC = ModelSpec("toy")
GOOD = """
from inoc.backends.protocols import Capabilities
class Good:
    name = "good"
    capabilities = Capabilities(score=True)
    @classmethod
    def from_spec(cls, model): return cls()
    tokenizer = None
    context_length = 10
    def identity(self): return {}
    def check(self): pass
    def close(self): pass
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    def install(name: str, source: str, entry: str) -> None:
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(f"[inoc.backends]\n{entry}\n")

    install("good-package", GOOD, "good = good_package:Good")
    install("bad-package", "raise OSError('no accelerator here')", "bad = bad_package:Bad")
    install("odd-package", "class Odd:\n    capabilities = 3\n    from_spec = None", "odd = odd_package:Odd")
    install("rival-package", GOOD, "local = rival_package:Good")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.BACKENDS.reset()
    yield tmp_path
    registry.BACKENDS.reset()


@pytest.mark.usefixtures("plugins")
def test_a_broken_plugin_is_a_warning_and_the_listing_goes_on() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        infos = {info.name: info for info in list_backends()}
    said = [str(warning.message) for warning in caught]
    assert (
        "backend 'bad' of bad-package 0.1 cannot be loaded: OSError: no accelerator here. "
        "Fix: repair or uninstall bad-package." in said
    )
    assert any("odd_package:Odd is not a backend: it lacks identity, check, close" in text for text in said)
    assert (
        "backend 'local' of rival-package 0.1 has the name of one of inoc and is ignored. "
        "Fix: rename its entry point." in said
    )
    assert infos["good"].usable
    assert infos["good"].package == "good-package"
    assert infos["good"].capabilities is not None
    assert infos["good"].capabilities.score
    assert not infos["bad"].usable
    assert infos["local"].package == "inoc"


@pytest.mark.usefixtures("plugins")
def test_loading() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load_backend("good", SPEC).name == "good"
        with pytest.raises(BackendUnavailable, match=r"'bad' of bad-package .* OSError: no accel"):
            load_backend("bad", SPEC)
        with pytest.raises(BadInput, match=r"unknown backend 'lokal'\. Fix: did you mean 'local'\?"):
            load_backend("lokal", SPEC)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(
        BackendUnavailable, match=r"needs torch and transformers .*Fix: pip install -e '\.\[local\]' in inoc's clone"
    ):
        load_backend("local", SPEC)


def test_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, json, io, contextlib\n"
        "from inoc.cli import main\n"
        "sys.argv = ['inoc', 'backends', '--json']\n"
        "out = io.StringIO()\n"
        "try:\n"
        "    with contextlib.redirect_stdout(out): main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = ['torch', 'transformers', 'jax', 'xarray', 'pandas', 'openai', 'tinker', 'vllm']\n"
        "print(json.dumps([json.loads(out.getvalue()), [m for m in heavy if m in sys.modules]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    infos, heavy = json.loads(done.stdout)
    assert heavy == []
    local = next(info for info in infos if info["name"] == "local")
    assert local["capabilities"]["score"] is True
    assert local["extra"] == "inoc[local]"
    assert [info["name"] for info in infos][:6] == ["local", "vllm", "openai_server", "openai", "tinker", "openweights"]
