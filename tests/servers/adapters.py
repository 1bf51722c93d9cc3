"""PEFT adapters with random weights, large enough to change every logprob visibly."""

from pathlib import Path


def write_adapter(
    model: Path, folder: Path, *, rank: int = 8, rslora: bool = True, seed: int = 0, head: bool = False
) -> Path:
    """An adapter on all projections (and on the output layer with `head`)."""
    import peft
    import torch
    import transformers

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=16,
        use_rslora=rslora,
        target_modules=[*targets, "lm_head"] if head else targets,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    wrapped = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(model), config)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.05)
    wrapped.save_pretrained(folder)
    return folder
