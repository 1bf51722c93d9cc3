"""Linear layers on a CPU through oneDNN, which uses the widest instructions of any processor.

torch passes float32 products to MKL, which uses AVX-512 on Intel processors only: on others oneDNN computes the same
product twice as fast (`benchmarks/RESULTS.md`).
"""

from typing import Final

import torch

LEAST_ROWS: Final = 64
"""Below, preparing the weights for oneDNN costs more than it saves."""


class CpuLinear(torch.nn.Linear):
    """`torch.nn.Linear`; without gradients, in float32 and for many rows computed by oneDNN."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        many = input.shape[-1] and input.numel() >= LEAST_ROWS * input.shape[-1]
        if many and torch.is_inference_mode_enabled() and input.dtype == torch.float32:
            return _product(input, self.weight, self.bias)
        return super().forward(input)


def _product(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")


def use_onednn(model: torch.nn.Module) -> None:
    """Turn the plain float32 linear layers on the CPU into `CpuLinear`, if this torch supports it."""
    if not _works():
        return
    for module in model.modules():
        if type(module) is not torch.nn.Linear:
            continue
        if module.weight.dtype == torch.float32 and module.weight.device.type == "cpu":
            module.__class__ = CpuLinear


@torch.inference_mode()
def _works() -> bool:
    """Whether oneDNN's product, which is not a public function of torch, exists and is correct."""
    if not torch.backends.mkldnn.is_available():
        return False
    input, weight, bias = torch.randn(2, LEAST_ROWS, 32), torch.randn(48, 32), torch.randn(48)
    try:
        found = _product(input, weight, bias)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return torch.allclose(found, torch.nn.functional.linear(input, weight, bias), atol=1e-4)
