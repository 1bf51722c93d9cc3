"""What is refused before vLLM is imported; versions; the table of known faults. Needs no vLLM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inoc.backends.protocols import ModelSpec
from inoc.backends.vllm import VllmBackend, known_bad
from inoc.backends.vllm.adapters import engine_rank, read_adapter
from inoc.errors import BackendRejected, BackendUnavailable, BadInput


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if vLLM 0.32 were installed."""
    monkeypatch.setattr("inoc.backends.base.find_spec", lambda name: object())
    monkeypatch.setattr("inoc.backends.vllm.backend.version_text", lambda: "0.32.0")


def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inoc.backends.base.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"pip install -e '\.\[vllm\]' in inoc's clone"):
        VllmBackend.from_spec(ModelSpec("x"))


def test_construction_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "import inoc.backends.base\n"
        "import inoc.backends.vllm.backend as b\n"
        "inoc.backends.base.find_spec = lambda name: object()\n"
        "b.version_text = lambda: '0.32.0'\n"
        "from inoc.backends.protocols import ModelSpec\n"
        "b.VllmBackend.from_spec(ModelSpec('some/model', options={'tensor_parallel_size': 8}))\n"
        "print([m for m in ('vllm', 'torch', 'transformers', 'jax', 'xarray') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tensor_paralel_size": 2}, "'tensor_paralel_size'. Fix: did you mean 'tensor_parallel_size'"),
        ({"tensor_parallel_size": 0}, "'tensor_parallel_size' .* is 0"),
        ({"gpu_memory_utilization": 1.5}, "'gpu_memory_utilization' .* is 1.5"),
        ({"distributed_executor_backend": "magic"}, "'distributed_executor_backend' .* is 'magic'"),
        ({"trust_remote_code": True}, "unknown option .* 'trust_remote_code'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        VllmBackend.parse_options(options)  # pyright: ignore[reportArgumentType]


def test_settings_pass_through_to_the_engine() -> None:
    given = {
        "tensor_parallel_size": 8, "pipeline_parallel_size": 2, "distributed_executor_backend": "ray",
        "nnodes": 2, "node_rank": 0, "master_addr": "10.0.0.1", "master_port": 29501,
        "gpu_memory_utilization": 0.8, "max_model_len": 4096,
    }  # fmt: skip
    assert VllmBackend.parse_options(given).engine_arguments() == {**given, "max_num_batched_tokens": 2048}
    assert "share_prefix" not in VllmBackend.parse_options({"share_prefix": False}).engine_arguments()


@pytest.mark.usefixtures("pretend")
def test_data_parallel_in_process_is_refused_with_the_way() -> None:
    with pytest.raises(BackendRejected, match=r"https://.*vllm serve --data-parallel-size.*openai_server"):
        VllmBackend.from_spec(ModelSpec("x", options={"data_parallel_size": 2}))


@pytest.mark.parametrize(
    ("text", "shares"), [("0.32.0", True), ("0.32.1+cu129", True), ("0.33.0", False), ("1.0.0", False)]
)
@pytest.mark.usefixtures("pretend")
def test_cache_is_read_only_in_tested_versions(text: str, shares: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inoc.backends.vllm.backend.version_text", lambda: text)
    assert VllmBackend.from_spec(ModelSpec("x")).share_prefix is shares


@pytest.mark.parametrize("text", ["0.9.2", "0.31.4", "nightly"])
def test_untested_versions_are_refused(text: str) -> None:
    with pytest.raises(BackendUnavailable, match=r"\.\[vllm\]"):
        known_bad.check_version(text)


def test_every_fault_is_in_the_documented_table() -> None:
    page = (Path(__file__).parents[2] / "docs/backends/vllm.md").read_text()
    for fault in known_bad.FAULTS:
        assert fault.link in page


def write_folder(folder: Path, names: list[str], **config: object) -> str:
    """An adapter's folder whose weights are a header only."""
    folder.mkdir(exist_ok=True)
    header = json.dumps({name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in names}).encode()
    (folder / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 8, "lora_alpha": 16, **config}))
    return str(folder)


GOOD = ["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]


@pytest.mark.parametrize(
    ("names", "config", "words"),
    [
        ([*GOOD, "base_model.model.lm_head.lora_A.weight"], {}, "lm_head.*one output layer"),
        ([*GOOD, "base_model.model.model.embed_tokens.lora_embedding_A"], {}, "embed_tokens"),
        (GOOD, {"modules_to_save": ["lm_head"]}, "merge the adapter"),
        (GOOD, {"use_dora": True}, "DoRA"),
        (GOOD, {"r": 1024}, "rank 1024"),
    ],
)
def test_adapters_vllm_cannot_apply(tmp_path: Path, names: list[str], config: dict[str, object], words: str) -> None:
    with pytest.raises(BackendRejected, match=words):
        read_adapter(write_folder(tmp_path / "adapter", names, **config))


def test_adapter_names_follow_content_and_place(tmp_path: Path) -> None:
    first = read_adapter(write_folder(tmp_path / "a", GOOD, use_rslora=True))
    again = read_adapter(str(tmp_path / "a"))
    other = read_adapter(write_folder(tmp_path / "a", GOOD, use_rslora=False))
    moved = read_adapter(write_folder(tmp_path / "b", GOOD, use_rslora=True))
    assert first == again
    assert len({first.name, other.name, moved.name}) == 3
    assert read_adapter(write_folder(tmp_path / "c", GOOD, rank_pattern={"q_proj": 20})).rank == 20
    assert [engine_rank(rank) for rank in (1, 4, 8, 33, 512)] == [1, 8, 8, 64, 512]


@pytest.mark.parametrize("damage", ["absent", "cut", "config"])
def test_damaged_adapters_are_bad_input(tmp_path: Path, damage: str) -> None:
    folder = Path(write_folder(tmp_path / "adapter", GOOD))
    weights = folder / "adapter_model.safetensors"
    if damage == "absent":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:20])
    else:
        (folder / "adapter_config.json").write_text('{"r": "many"}')
    with pytest.raises(BadInput, match=r"adapter"):
        read_adapter(str(folder))
