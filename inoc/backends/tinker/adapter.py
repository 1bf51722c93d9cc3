"""What the service's LoRA is, and how it differs from the adapter settings an experiment asks for."""

from dataclasses import asdict
from typing import Final, NamedTuple

from inoc.backends.protocols import AdapterSettings, TrainingJob
from inoc.errors import BackendRejected

ALPHA: Final = 32.0
"""The service has no setting for alpha, rsLoRA or dropout: its update is scaled by 32 / rank."""
LORA: Final = "alpha 32, scale 32/rank, no rsLoRA, no dropout"
OPTIMIZER: Final = "adamw, betas 0.9 0.999, eps 1e-8, on the service"
ATTENTION: Final = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP: Final = ("gate_proj", "up_proj", "down_proj")


class ServiceAdapter(NamedTuple):
    """The adapter the service trains: its settings and the service's own switches."""

    settings: AdapterSettings
    train_attn: bool
    train_mlp: bool
    differences: tuple[str, ...]
    """"field: asked for -> used", for every setting (and the optimizer) that differs from the request."""


def service_adapter(job: TrainingJob) -> ServiceAdapter:
    """The service trains all attention layers or none, likewise MLP layers, and never the output layer here, so that
    its adapters load everywhere. BackendRejected for a full fine-tuning, or settings without any of these layers."""
    asked = job.adapter
    if asked.kind == "full":
        raise BackendRejected(
            f"training '{job.id}' asks for full fine-tuning, but a Tinker service trains LoRA adapters only. "
            "Fix: set training.method to lora, or use the local backend."
        )
    attention, mlp = bool(set(asked.targets) & set(ATTENTION)), bool(set(asked.targets) & set(MLP))
    if not attention and not mlp:
        raise BackendRejected(
            f"training '{job.id}' targets {', '.join(asked.targets) or 'nothing'}, which a Tinker service does not "
            f"train. Fix: target attention ({', '.join(ATTENTION)}) or MLP layers ({', '.join(MLP)})."
        )
    targets = (ATTENTION if attention else ()) + (MLP if mlp else ())
    used = AdapterSettings("lora", asked.rank, ALPHA, rslora=False, dropout=0.0, targets=targets)
    differences = [
        f"{name}: {value} -> {asdict(used)[name]}"
        for name, value in asdict(asked).items()
        if (set(value) != set(targets) if name == "targets" else value != asdict(used)[name])
    ]
    if asked.scale != used.scale:
        differences.append(f"scale of the update: {asked.scale:.4g} -> {used.scale:.4g}")
    if job.optimizer != "adamw":
        differences.append(f"optimizer: {job.optimizer} -> adamw")
    return ServiceAdapter(used, attention, mlp, tuple(differences))
