"""The real example-level data as bare arrays, straight from the published JSON in float64."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class German:
    """48 prompts x 1000 examples of the German/Flattering experiment, and the numbers it must give."""

    prompts: tuple[str, ...]
    roles: tuple[str, ...]
    families: tuple[str, ...]
    fixed: np.ndarray
    mix: np.ndarray
    control: np.ndarray
    elicitation: np.ndarray
    baseline: np.ndarray
    golden: dict[str, Any]

    def role(self, role: str) -> np.ndarray:
        return np.array([given == role for given in self.roles])

    def at(self, *keys: str) -> list[int]:
        return [self.prompts.index(key) for key in keys]


TRAITS = ("German", "Flattering")


@pytest.fixture(scope="session")
def german(reference: Path) -> German:
    place = reference / "german_flattering"
    golden = json.loads((place / "golden.json").read_text())
    raw = json.loads((place / "logprobs_by_example.json").read_text())
    elicited = json.loads((place / "elicitation.json").read_text())
    table = json.loads((place / "prompts.json").read_text())
    prompts = tuple(golden["_meta"]["prompt_order"])
    base = {key: np.array(value) for key, value in raw["baseline"].items() if key.startswith("lp_")}

    def difference(key: str, default: str) -> np.ndarray:
        return np.array([raw["prompts"][p][key] for p in prompts]) - base[default]

    def scores(key: str) -> np.ndarray:
        return np.array([elicited[key]["scores"][t]["values"] for t in TRAITS], dtype=np.float64)

    return German(
        prompts=prompts,
        roles=tuple(golden["_meta"]["role"][p] for p in prompts),
        families=tuple(table[p]["family"] for p in prompts),
        fixed=difference("lp_train_inoc", "lp_train_default"),
        mix=difference("lp_train_mix", "lp_train_default"),
        control=difference("lp_ctrl_inoc", "lp_ctrl_default"),
        elicitation=np.stack([scores(p) for p in prompts], axis=1),
        baseline=scores("neutral"),
        golden=golden,
    )
