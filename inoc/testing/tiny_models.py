# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Tiny random models with their own tokenizers and chat templates, for tests: made in a second, about 100 kB.

Three styles cover what templates do differently: `qwen2` has a default system prompt and a newline after the
end of turn, `llama` a begin-of-text token, `gemma` no system role. `table_model` has a known table.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

Style = Literal["qwen2", "llama", "gemma"]

QWEN2_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' %}"
    "{{- '<|im_start|>system\\nYou are tiny.<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
LLAMA_TEMPLATE = (
    "{{- bos_token }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
GEMMA_TEMPLATE = (
    "{{- bos_token }}{%- for message in messages %}"
    "{%- if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{%- endif %}"
    "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}"
)

# style -> (special tokens: first pads, second ends a turn, third begins a text if there is one; template)
STYLES: dict[Style, tuple[tuple[str, ...], str | None, str]] = {
    "qwen2": (("<|endoftext|>", "<|im_end|>", "<|im_start|>"), None, QWEN2_TEMPLATE),
    "llama": (
        ("<|finetune_right_pad_id|>", "<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
        "<|begin_of_text|>",
        LLAMA_TEMPLATE,
    ),
    "gemma": (("<pad>", "<end_of_turn>", "<bos>", "<start_of_turn>"), "<bos>", GEMMA_TEMPLATE),
}


def tiny_model(directory: Path, style: Style = "qwen2", *, seed: int = 0, hidden: int = 64, layers: int = 2) -> Path:
    """Write a random-weight causal language model with its tokenizer and chat template.

    Head size 32, a byte-level vocabulary of a few hundred tokens, context of 512 tokens. The weights are wide
    enough that the context changes the next-token distribution visibly.

    Args:
        directory: Where to write; made if it does not exist.
        style: Which family's architecture and template.
        seed: Of the weights.
        hidden: Width of the hidden state, a multiple of 32.
        layers: Number of layers.

    Returns:
        The directory.
    """
    import torch
    import transformers

    vocabulary = _write_tokenizer(directory, style)
    sizes: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 32,
        "num_key_value_heads": max(1, hidden // 64),
        "head_dim": 32,
        "max_position_embeddings": 512,
        "initializer_range": 0.15,
        "pad_token_id": 256,
        "eos_token_id": 257,
        "bos_token_id": None if STYLES[style][1] is None else 258,
    }
    kind = {"qwen2": transformers.Qwen2Config, "llama": transformers.LlamaConfig, "gemma": transformers.GemmaConfig}[
        style
    ]
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(kind(**sizes))
    model.save_pretrained(directory)
    return directory


def table_model(directory: Path, *, seed: int = 0) -> Float64[np.ndarray, "token next_token"]:
    """Write a model whose p(next | token) is a table.

    Attention and MLP add nothing and embeddings are one-hot, so the normalized hidden state is a unit vector
    times sqrt(hidden); the output layer holds log(table) / sqrt(hidden). A correct engine gives log(table).

    Args:
        directory: Where to write; made if it does not exist.
        seed: Of the table.

    Returns:
        The table; rows sum to 1.
    """
    import torch
    import transformers

    vocabulary = _write_tokenizer(directory, "qwen2")
    hidden = 32 * -(-vocabulary // 32)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=hidden // 32,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        rms_norm_eps=1e-12,
        pad_token_id=256,
        eos_token_id=257,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    table = np.random.default_rng(seed).dirichlet(np.full(vocabulary, 0.3), size=vocabulary) + 1e-6
    table /= table.sum(1, keepdims=True)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
        embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        embedding.copy_(torch.eye(vocabulary, hidden))
        head.zero_()
        head[:, :vocabulary] = torch.from_numpy(np.log(table).T / np.sqrt(hidden))
    model.save_pretrained(directory)
    return table


def _write_tokenizer(directory: Path, style: Style) -> int:
    """One token per byte, then the style's special tokens. Returns the vocabulary size (a multiple of 8)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special, bos, template = STYLES[style]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=special[0], eos_token=special[1], bos_token=bos, chat_template=template
    )
    fast.save_pretrained(directory)
    return 8 * -(-tokenizer.get_vocab_size() // 8)
