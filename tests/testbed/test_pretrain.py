"""Pre-training: the same seed gives the same model, and the shipped tokenizer is the one the code makes."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402

from inoc import testbed  # noqa: E402
from inoc.testbed.pretrain import PretrainingSettings, pretrain, rate  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.slow
def test_same_seed_same_weights_and_the_shipped_tokenizer(tmp_path: Path):
    settings = PretrainingSettings(steps=3, batch=4)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain(seed, tmp_path / name, settings)
    a, b, c = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
        assert (tmp_path / "a" / name).read_text() == (testbed.model_path() / name).read_text(), name


def test_learning_rate_warms_up_then_decays_to_a_twentieth():
    settings = PretrainingSettings(steps=100, warmup=10, learning_rate=1.0)
    rates = [rate(step, settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[100] == pytest.approx(0.05)
    assert rates[10:] == sorted(rates[10:], reverse=True)
