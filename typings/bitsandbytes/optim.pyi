from collections.abc import Mapping, Sequence

from torch.optim import Optimizer

class AdamW8bit(Optimizer):
    def __init__(self, groups: Sequence[Mapping[str, object]], lr: float) -> None: ...
