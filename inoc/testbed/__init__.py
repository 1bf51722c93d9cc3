"""A tiny world and a tiny real model, shipped: inoculation prompting with real training, in minutes.

Importing this needs neither torch nor transformers. What it shows and what it does not show: docs/testbed.md.
"""

from inoc.testbed.files import (
    SYSTEM_PROMPT,
    CompletionSet,
    Split,
    TestbedPrompt,
    completions,
    experiment_path,
    instructions,
    model_path,
    pool,
    prompts,
)
from inoc.testbed.rephraser import rephrase
from inoc.testbed.world import score_french, score_playful

__all__ = [
    "SYSTEM_PROMPT", "CompletionSet", "Split", "TestbedPrompt", "completions", "experiment_path", "instructions",
    "model_path", "pool", "prompts", "rephrase", "score_french", "score_playful",
]  # fmt: skip
