"""Every setting of the experiment file is documented."""

import re
from pathlib import Path

import pytest

from inoc.experiment import judges, models, prefills, training
from inoc.experiment.parts import Part

DOCS = Path(__file__).parent.parent.parent / "docs"
MODELS = {
    item
    for module in (models, training, judges, prefills)
    for item in vars(module).values()
    if isinstance(item, type) and issubclass(item, Part) and item not in (Part, models.Prompt, training.Run)
}


@pytest.mark.parametrize("model", sorted(MODELS, key=lambda model: model.__name__), ids=lambda model: model.__name__)
def test_every_field_is_documented(model: type[Part]) -> None:
    page = (DOCS / "experiment.md").read_text()
    words = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`[^`]+`", page.replace("```", "")))))
    assert set(model.model_fields) <= words, set(model.model_fields) - words
