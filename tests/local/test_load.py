"""Finding, fingerprinting and refusing models; lazy imports."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inoc.backends.local import LocalBackend
from inoc.backends.protocols import Backend, Embedder, ModelSpec, Sampler, Scorer, ScoreRequest, Trainer
from inoc.errors import BackendUnavailable, BadInput


def test_is_a_whole_backend(local, models: dict[str, Path]) -> None:
    backend = local(models["qwen2"])
    assert isinstance(backend, Backend)
    assert isinstance(backend, Scorer)
    assert isinstance(backend, Sampler)
    assert isinstance(backend, Trainer)
    assert isinstance(backend, Embedder)
    backend.check()
    assert backend.context_length == 512


def test_importing_the_backend_imports_no_engine() -> None:
    code = "import sys, inoc.backends.local; print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_identity_changes_with_weights_and_template_only(local, models: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    copy = tmp_path / models["qwen2"].name
    shutil.copytree(models["qwen2"], copy)
    before = local(models["qwen2"]).identity()
    assert local(copy).identity() == before
    assert str(tmp_path) not in str(before)
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text().replace("You are tiny.", "You are small."))
    changed = local(copy).identity()
    assert {k for k in before if changed[k] != before[k]} == {"template"}
    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert {k for k in before if local(copy).identity()[k] != before[k]} == {"template", "weights"}


def hub_cache(root: Path, model: Path) -> str:
    """Lay a model out as the hub's cache does: blobs by sha256, links in the snapshot of a commit."""
    import hashlib

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = root / "models--tiny--random"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in model.iterdir():
        blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    return commit


def test_hub_name_from_the_cache(
    local, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = hub_cache(tmp_path, models["llama"])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    backend = LocalBackend.from_spec(ModelSpec("tiny/random", options={"device": "cpu"}))
    identity = backend.identity()
    assert (identity["model"], identity["revision"]) == ("tiny/random", commit)
    # the blob's name is its sha256, so reading it is not needed; the sum is the same as of the plain directory
    assert identity["weights"] == local(models["llama"]).identity()["weights"]
    assert len(list(backend.score([ScoreRequest("a", (1, 2), (3,))]))) == 1
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        LocalBackend.from_spec(ModelSpec("tiny/absent"))


def test_pickled_weights_are_not_loaded(local, models: dict[str, Path], tmp_path: Path) -> None:
    import torch

    shutil.copytree(models["qwen2"], tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "m" / "pytorch_model.bin")
    backend = local(tmp_path / "m")
    with pytest.raises(BadInput, match="no safetensors weights"):
        backend.check()
    with pytest.raises(BadInput, match="cannot be loaded"):
        list(backend.score([ScoreRequest("a", (1,), (1,))]))


def test_testbed(local) -> None:
    testbed = pytest.importorskip("inoc.testbed")
    if not hasattr(testbed, "model_path") or not Path(testbed.model_path()).is_dir():
        pytest.skip("the testbed's model is not there yet")
    backend = LocalBackend.from_spec(ModelSpec("testbed"))
    assert backend.identity()["model"] == "testbed"
    assert len(list(backend.score([ScoreRequest("a", (1, 2), (3,))]))) == 1
