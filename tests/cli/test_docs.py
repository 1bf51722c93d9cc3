"""Every setting of the experiment file and every option of these commands is documented."""

import importlib
import re
from pathlib import Path

import pytest

from inoc.cli import COMMANDS
from inoc.experiment import judges, models, training
from inoc.experiment.parts import Part

DOCS = Path(__file__).parent.parent.parent / "docs"
MODELS = {
    item
    for module in (models, training, judges)
    for item in vars(module).values()
    if isinstance(item, type) and issubclass(item, Part) and item not in (Part, models.Prompt, training.Run)
}


@pytest.mark.parametrize(
    "model", sorted(MODELS, key=lambda model: model.__name__), ids=lambda model: model.__name__
)
def test_every_field_is_documented(model: type[Part]) -> None:
    page = (DOCS / "experiment.md").read_text()
    words = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`[^`]+`", page.replace("```", "")))))
    assert set(model.model_fields) <= words, set(model.model_fields) - words


@pytest.mark.parametrize("name", ["new", "check", "backends", "doctor", "score"])
def test_every_option_is_documented(name: str) -> None:
    module, attribute, _ = COMMANDS[name]
    command = getattr(importlib.import_module(module), attribute)
    page = (DOCS / "cli.md").read_text()
    for parameter in command.params:
        for option in parameter.opts:
            if option.startswith("--"):
                assert f"`{option}" in page or f"[{option}" in page or f"{option} " in page, (
                    f"{name} {option}"
                )
    assert f"`inoc {name}" in page
