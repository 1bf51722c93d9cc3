"""The real example-level data as bare arrays, straight from the published JSON in float64."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inoc
from inoc.store.store import Store

from ..worlds import Completions, write_store
from . import oracle_worlds


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


@dataclass(frozen=True)
class World:
    """A small token-level store with everything in it, and the arrays it was written from."""

    path: Path
    prompts: tuple[str, ...]
    roles: tuple[str, ...]
    row_size: np.ndarray
    default: np.ndarray
    prefixed: np.ndarray
    """[prefix_type, prompt, token] of train."""
    vectors: np.ndarray
    spread: np.ndarray
    elicitation: np.ndarray
    baseline: np.ndarray

    @property
    def w(self) -> np.ndarray:
        delta = (self.prefixed - self.default).astype(np.float64)
        starts = np.cumsum(self.row_size) - self.row_size
        return np.add.reduceat(delta, starts, axis=-1) / self.row_size


WORLD_ROLES = ("positive",) * 3 + ("negative",) * 3 + ("neutral",) * 3
WORLD_SETS = {"train": 24, "control": 9, "positive": 7, "negative": 8}


def write_world(path: Path, *, seed: int = 0, level: str = "token", skip: tuple[str, ...] = ()) -> World:
    """Write a store; `skip` leaves groups out: sets, elicitation, self_perplexity, embeddings, roles."""
    random = np.random.default_rng(seed)
    prompts = tuple(f"{role}_{i}" for i, role in enumerate(WORLD_ROLES))
    family = {"positive": "german", "negative": "flattering", "neutral": "neutral"}
    push = np.array([{"positive": 1.0, "negative": -0.5, "neutral": 0.1}[r] for r in WORLD_ROLES])
    sets: dict[str, Completions] = {}
    for name, n in WORLD_SETS.items():
        if name != "train" and "sets" in skip:
            continue
        kinds = ("fixed", "mix") if name == "train" else ("fixed",)
        sizes = random.integers(1, 12, size=n)
        default = -random.exponential(2.0, size=int(sizes.sum())).astype(np.float32)
        shift = push[None, :, None] + random.normal(size=(len(kinds), len(prompts), default.size))
        prefixed = np.minimum(default + 0.3 * shift, 0).astype(np.float32)
        if level == "example":
            starts = np.cumsum(sizes) - sizes
            default = np.add.reduceat(default.astype(np.float64), starts) / sizes
            prefixed = np.add.reduceat(prefixed.astype(np.float64), starts, axis=-1) / sizes
        if name == "train":
            kept = {"row_size": sizes, "default": default, "prefixed": prefixed}
        rows = {(k, p): prefixed[f, i] for f, k in enumerate(kinds) for i, p in enumerate(prompts)}
        sets[name] = Completions(sizes, default, rows)
    vectors = random.normal(size=(len(prompts), 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    spread = random.uniform(0.01, 0.2, size=len(prompts))
    score = random.uniform(0, 100, size=(2, len(prompts), 15))
    baseline = random.uniform(0, 20, size=(2, 15))
    score[0, 0, 3] = np.nan
    groups = {
        "embeddings": (prompts, vectors, {"rephrase_std_cos": spread}),
        "self_perplexity": (prompts, spread * 20, spread * 10),
        "elicitation": {"prompts": prompts, "score": score, "baseline": baseline},
    }
    write_store(
        path,
        [
            {"key": p, "text": p, **({} if "roles" in skip else {"family": family[r], "role": r})}
            for p, r in zip(prompts, WORLD_ROLES, strict=True)
        ],
        sets,
        level=level,
        **{name: group for name, group in groups.items() if name not in skip},
    )
    return World(
        path=path, prompts=prompts, roles=WORLD_ROLES, vectors=vectors, spread=spread,
        elicitation=score, baseline=baseline, **kept,
    )  # fmt: skip


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world") / "world.zarr")


@pytest.fixture(scope="session")
def example_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The same without tokens and without elicitation."""
    path = tmp_path_factory.mktemp("example_world") / "world.zarr"
    return write_world(path, level="example", skip=("elicitation",))


@pytest.fixture(scope="session")
def oracle_stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[oracle_worlds.World, Store]]:
    """The worlds of the oracles, and their stores."""
    place = tmp_path_factory.mktemp("oracles")
    made = {name: make() for name, make in oracle_worlds.WORLDS.items()}
    return {name: (world, inoc.open_store(oracle_worlds.write(world, place / name))) for name, world in made.items()}
