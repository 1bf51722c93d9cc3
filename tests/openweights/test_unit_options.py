"""Options, keys, models and the shell line: refused or understood before anything is sent. No server."""

import shlex
from pathlib import Path

import pytest

from inoc.backends.openweights import OpenWeightsBackend, model
from inoc.backends.openweights.command import entrypoint, image_of, install_line
from inoc.backends.openweights.options import DEFAULT_INSTALL, Options
from inoc.backends.openweights.service import Service
from inoc.backends.protocols import ModelSpec
from inoc.errors import BackendUnavailable, BadInput, BadResult
from inoc.testbed import model_path

JWT = "eyJh.eyJi.c"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gpu": 1}, "unknown option of the backend openweights 'gpu'"),
        ({"api_key": "ow_secret"}, "set the environment variable"),
        ({"url": "http://x"}, "set the environment variable"),
        ({"requires_vram_gb": -1}, "requires_vram_gb"),
        ({"poll": 0}, "poll"),
        ({"device": "gpu"}, "device"),
        ({"tokens_per_job": 1.5}, "tokens_per_job"),
    ],
)
def test_wrong_options_are_named(given, said):
    with pytest.raises(BadInput, match=said) as caught:
        OpenWeightsBackend.parse_options(given)
    assert "ow_secret" not in str(caught.value)


def test_options_of_the_worker_and_hardware():
    options = OpenWeightsBackend.parse_options({"device": "cpu", "rows": 4, "allowed_hardware": " 1x A100 ,2x H100S,"})
    assert options.on_worker() == {"device": "cpu", "rows": 4}
    assert options.hardware() == ["1x A100", "2x H100S"]
    assert OpenWeightsBackend.parse_options(None).on_worker() == {}
    assert OpenWeightsBackend.parse_options({"allowed_hardware": ""}).hardware() is None


def test_every_option_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "backends" / "openweights.md").read_text()
    missing = [name for name in Options.__dataclass_fields__ if f"`{name}`" not in page]
    assert missing == []


def test_the_shell_line():
    plain = entrypoint("score", False, Options(base_image="dev"))
    assert "prepare.py" not in plain
    assert "&&" not in plain
    assert " python -m inoc.backends.openweights.worker score 60.0 600.0 1000" in plain
    both = entrypoint("train", True, Options(base_image="x", install="a<2 'b; rm'"))
    first, second, third = both.split(" && ")
    assert shlex.split(first) == ["python", "prepare.py", "a<2", "'b;", "rm'"]
    assert "env/bin/python -m inoc.backends.openweights.worker train" in second
    assert "env/bin/python -m inoc.backends.openweights.worker answer" in third


def test_what_is_installed_where():
    assert install_line(Options(base_image="dev")) == ""
    assert install_line(Options(base_image="somebody/else:1")) == DEFAULT_INSTALL
    assert install_line(Options(base_image="somebody/else:1", install="")) == ""
    assert "torch" not in DEFAULT_INSTALL
    assert image_of(Options(base_image="dev")) == "dev"


def test_the_default_image_is_the_clients():
    pytest.importorskip("openweights.client")
    from openweights.images import OW_UNSLOTH_IMAGE

    assert image_of(Options()) == OW_UNSLOTH_IMAGE


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OPENWEIGHTS_API_KEY", "ow_0123456789")
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_ANON_KEY", JWT)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OPENWEIGHTS_API_KEY", "", r"needs a key\. Fix: set the environment variable OPENWEIGHTS_API_KEY"),
        ("OPENWEIGHTS_API_KEY", "my secret", "is not an OpenWeights key"),
        ("SUPABASE_ANON_KEY", "my secret", "SUPABASE_ANON_KEY"),
        ("SUPABASE_URL", "ftp://somewhere", "plain http"),
        ("SUPABASE_URL", "http://me:my secret@somewhere", "plain http"),
        ("SUPABASE_URL", "http://127.0.0.1:9", "no OpenWeights server answers at http://127.0.0.1:9 within 3 s"),
    ],
)
def test_keys_and_addresses_are_checked_before_the_client(environment, name, value, said):
    environment.setenv(name, value)
    with pytest.raises(BadInput, match=said) as caught:
        Service().ow
    assert caught.value.exit_code == 2
    assert "my secret" not in str(caught.value)


def test_messages_show_no_key(environment):
    service = Service()
    said = service.clean(f"a ow_0123456789 b {JWT}\n ow_AAAAAAAAAAAA eyJhbGci.eyJyb2xl.sig_-1 c" + "x" * 999)
    assert said.startswith("a *** b *** *** *** c")
    assert len(said) == 300


def test_a_file_that_arrives_damaged_is_refused(environment, monkeypatch):
    service = Service()
    monkeypatch.setattr(service, "file", lambda id: b"other")
    with pytest.raises(BadResult, match=r"'part.npz' of the job arrived damaged"):
        service.content({"file": "f", "sha256": "0" * 64, "path": "part.npz"})


def test_the_testbed_is_sent():
    found = model.find(ModelSpec("testbed"), Options())
    assert (found.name, found.upload, found.on_worker) == ("testbed", model_path(), "model/testbed")
    assert model.context_and_vocabulary(found, ModelSpec("testbed")) == (512, 2048)


def test_a_hub_model_is_fetched_by_the_worker():
    found = model.find(ModelSpec("owner/name", "abc"), Options(tokenizer="/tok"))
    assert found == model.Model("owner/name", None, "owner/name", "/tok", None)


def test_the_worker_may_have_a_model_of_its_own():
    found = model.find(ModelSpec(str(model_path())), Options(worker_model="/models/it"))
    assert (found.name, found.upload, found.on_worker) == ("model", None, "/models/it")
    assert found.weights is not None


def test_models_that_cannot_be_sent_are_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="no model directory"):
        model.find(ModelSpec(str(tmp_path / "none")), Options())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="safetensors"):
        model.find(ModelSpec(str(tmp_path)), Options())
    (tmp_path / "model.safetensors").write_bytes(b"0" * 2_000_001)
    with pytest.raises(BadInput, match="has 2 MB, more than the 1 MB"):
        model.find(ModelSpec(str(tmp_path)), Options(upload_mb=1))


def test_without_the_client_the_extra_is_named(monkeypatch):
    from inoc.backends import base

    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"pip install -e '\.\[openweights\]' in inoc's clone"):
        OpenWeightsBackend.from_spec(ModelSpec("testbed"))
