"""Small stores that tell apart what is easily confused, and the raw arrays they are written from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inoc.atomic import without_flushing
from inoc.store import ScoreInfo, StoreWriter
from inoc.store.probes import ProbePlan

from ..worlds import Completions, write_store

SETS = {"train": 29, "control": 9, "positive": 7, "negative": 8}
POOL_COLUMNS = ("rephrase_mean_cos", "rephrase_std_cos", "rephrase_min_cos", "rephrase_effective_rank")
PROMPTS = {  # key: role, family. `odd` and `loose`: the family is not that of the role
    "german": ("positive", "german"),
    "praise": ("negative", "flattering"),
    "zero": ("neutral", "neutral"),
    "berlin": ("positive", "german"),
    "flatter": ("negative", "flattering"),
    "odd": ("negative", "german"),
    "loose": ("neutral", "german"),
    "sparse": ("positive", "german"),
    "compliment": ("negative", "flattering"),
    "plain": ("neutral", "neutral"),
    "pending": ("negative", "flattering"),
    "vienna": ("positive", "german"),
}


@dataclass(frozen=True)
class World:
    """What a store holds, as bare arrays."""

    name: str
    level: str
    kinds: tuple[str, ...]
    roles: dict[str, str]
    families: dict[str, str]
    traits: tuple[tuple[str, str, str], ...]
    """Name, role, family."""
    sets: dict[str, Completions]
    score: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    """(trait, prompt) -> scores by instruction."""
    baseline: dict[str, np.ndarray] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    columns: dict[str, dict[str, float]] = field(default_factory=dict)
    """Stored column -> prompt -> value."""
    probed: "Probed | None" = None
    pools: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Probed:
    """What a tiny model's inside says, by (prefix type, prompt): whole gradients, shifts of hidden states by example
    [example, layer, feature], divergences of the first token by example. Units are missing."""

    gradients: dict[tuple[str, str], np.ndarray]
    default: np.ndarray
    of_traits: dict[str, np.ndarray]
    """Role -> gradient on the trait's set minus on the control set."""
    shifts: dict[tuple[str, str], np.ndarray]
    answers: dict[str, np.ndarray]
    """Completion set -> mean hidden state [layer, feature]."""
    divergence: dict[tuple[str, str], np.ndarray]


LAYERS = (1, 3)


TRAITS = (("German", "positive", "german"), ("Flattering", "negative", "flattering"))


def holes() -> World:
    """Everything stored, all differences multiples of 1/8: ties in abs(delta), values on the thresholds, w of
    exactly 0, missing tokens, examples and a missing unit, a prompt with 18 shared examples, one without any
    difference."""
    world = _world("holes", seed=1, grid=True)
    train = world.sets["train"]
    random = np.random.default_rng(11)
    ends = np.cumsum(train.row_size)
    for (kind, prompt), row in train.prefixed.items():
        row[random.choice(row.size, size=random.integers(1, 30), replace=False)] = np.nan
        for k in random.choice(29, size=random.integers(1, 4), replace=False):
            row[ends[k] - train.row_size[k] : ends[k]] = np.nan
        if (kind, prompt) == ("mix", "sparse"):
            row[: ends[10]] = np.nan
        if (kind, prompt) == ("fixed", "zero"):
            row[:] = train.default
    train.default[3] = np.nan
    del train.prefixed["mix", "pending"]
    return world


def reversed_traits() -> World:
    """The negative trait first, every set scored with both prefix types, nothing missing."""
    return _world("reversed_traits", seed=2, traits=TRAITS[::-1], others=("fixed", "mix"))


def examples_only() -> World:
    """Means over examples instead of tokens; prompts belong to traits by role, there are no families."""
    traits = tuple((name, role, "") for name, role, _ in TRAITS)
    return _world("examples_only", seed=3, traits=traits, level="example", families=False)


def fixed_only() -> World:
    """Six prompts, one prefix type, one trait, an example of 530 tokens."""
    few = list(PROMPTS)[:6]
    return _world("fixed_only", seed=4, traits=TRAITS[:1], kinds=("fixed",), longest=530, prompts=few)


def many() -> World:
    """More examples than a byte counts, one longer than 512 tokens, ties and holes: the world of the golden data."""
    sets = {"train": 400, "control": 20, "positive": 15, "negative": 15}
    few = list(PROMPTS)[:7]
    world = _world("many", seed=5, grid=True, longest=600, most=5, sets=sets, prompts=few)
    random = np.random.default_rng(12)
    for row in world.sets["train"].prefixed.values():
        row[random.choice(row.size, size=20, replace=False)] = np.nan
    return world


def _world(
    name: str,
    *,
    seed: int,
    grid: bool = False,
    level: str = "token",
    kinds: tuple[str, ...] = ("fixed", "mix"),
    others: tuple[str, ...] = ("fixed",),
    traits: tuple[tuple[str, str, str], ...] = TRAITS,
    families: bool = True,
    prompts: Sequence[str] = tuple(PROMPTS),
    longest: int = 0,
    most: int = 40,
    sets: Mapping[str, int] = SETS,
) -> World:
    random = np.random.default_rng(seed)
    push = {"positive": 0.8, "negative": -0.4, "neutral": 0.05}
    made: dict[str, Completions] = {}
    for completion_set, n in sets.items():
        sizes = np.ones(n, np.int64) if level == "example" else random.integers(1, most + 1, size=n)
        sizes[0] = max(sizes[0], longest)
        default = -random.exponential(2.0, size=int(sizes.sum()))
        prefixed: dict[tuple[str, str], np.ndarray] = {}
        for kind in kinds if completion_set == "train" else others:
            for prompt in prompts:
                role, _ = PROMPTS[prompt]
                center = push[role] * random.uniform(0.2, 1.2) * (1.0 if kind == "fixed" else 0.6)
                moved = default + random.normal(center, random.uniform(0.05, 0.9), size=default.size)
                prefixed[kind, prompt] = np.minimum(_rounded(moved, grid, level), 0)
        made[completion_set] = Completions(sizes, _rounded(default, grid, level), prefixed)
    keys = random.permutation([*prompts, "unscored"])[:-1]  # of the prompts' own order and one too few
    gaps = iter(random.random((100, 13)) < 0.15)
    return World(
        name=name,
        level=level,
        kinds=kinds,
        roles={p: PROMPTS[p][0] for p in prompts},
        families={p: PROMPTS[p][1] if families else "" for p in prompts},
        traits=traits,
        sets=made,
        score={
            (trait, str(p)): np.where(next(gaps), np.nan, random.uniform(0, 100, size=13))
            for trait, *_ in TRAITS
            for p in keys
        },
        baseline={trait: np.where(next(gaps), np.nan, random.uniform(0, 30, 13)) for trait, *_ in TRAITS},
        vectors={str(p): random.normal(size=6).astype(np.float32) for p in keys},
        columns={
            name: {str(p): float(random.uniform(0.1, 0.9)) for p in keys} for name in (*POOL_COLUMNS, "raw", "context")
        },
        probed=_probed(seed, kinds, [p for p in prompts if p != "pending"]),
        pools={p: _pool(i) for i, p in enumerate(prompts) if i % 5 != 3},
    )


def _pool(seed: int) -> list[str]:
    random, words = (
        np.random.default_rng(seed),
        ["Happily", "happiness", "do", "not", "Berlin", "berlins", "it's", "x2"],
    )
    return [" ".join(random.choice(words, size=3)) for _ in range(1 + seed)]


def _probed(seed: int, kinds: Sequence[str], prompts: Sequence[str]) -> Probed:
    random = np.random.default_rng(100 + seed)
    units = [(kind, prompt) for kind in kinds for prompt in prompts]
    default = random.normal(size=11)
    made = Probed(
        {unit: default * random.uniform(-0.2, 1) + random.normal(size=11) * 0.7 for unit in units},
        default,
        {role: random.normal(size=11) for role in ("positive", "negative")},
        {unit: random.normal(size=(2, 4)) + random.normal(size=(5, 2, 4)) for unit in units},
        {name: random.normal(size=(2, 4)).astype(np.float32) for name in ("positive", "negative", "control")},
        {unit: random.exponential(size=6) for unit in units},
    )
    made.gradients[units[0]][:] = 0.0
    return made


def _rounded(values: np.ndarray, grid: bool, level: str) -> np.ndarray:
    values = np.round(values * 8) / 8 if grid else values
    return values if level == "example" else values.astype(np.float32)


def write(world: World, path: Path) -> Path:
    """The store of a world."""
    _write_tables(world, path)
    if world.probed is not None:
        with without_flushing(), StoreWriter.open(path, identity={}, experiment={}, provenance={}) as writer:
            writer.put_rephrasings(world.pools)
            _write_probes(world, world.probed, writer)
    return path


def _write_probes(world: World, probed: Probed, writer: StoreWriter) -> None:
    kinds, prompts = world.kinds[::-1], sorted(world.roles)  # not in their order
    references = {"none": probed.default, **probed.of_traits}
    g = np.stack(list(references.values()))
    columns = {
        "gradient": {
            "example": [f"e{i}" for i in range(9)],
            "reference": list(references),
            "reference_norm": np.linalg.norm(g, axis=1),
            "reference_sign_product": g @ np.sign(probed.default),
        },
        "activation": {
            "example": [f"e{i}" for i in range(5)],
            "layer": np.array(LAYERS),
            "completion_set": list(probed.answers),
            "set_activation": np.stack(list(probed.answers.values())),
        },
        "logits": {"example": [f"e{i}" for i in range(6)]},
    }
    values = {
        "gradient": lambda u: {
            "norm": np.array(np.linalg.norm(probed.gradients[u])),
            "product": g @ probed.gradients[u],
            "sign_product": g @ np.sign(probed.gradients[u]),
        },
        "activation": lambda u: {
            "shift": probed.shifts[u].mean(0),
            "square_shift": (probed.shifts[u] ** 2).sum(-1).mean(0),
        },
        "logits": lambda u: {"first_token_kl": probed.divergence[u]},
    }
    for name, whole in columns.items():
        asked = list(values[name](next(iter(probed.gradients))))
        writer.plan_probe(ProbePlan(name, {"seed": 0}, whole, asked, kinds, prompts))
        for unit in probed.gradients:
            writer.put_probe(name, *unit, values[name](unit))


def _write_tables(world: World, path: Path) -> Path:
    prompts, keys = list(world.roles), list(world.vectors)
    traits = list(world.baseline)[::-1]
    return write_store(
        path,
        [
            *({"key": p, "text": p, "role": world.roles[p], "family": world.families[p]} for p in prompts),
            {"key": "unscored", "text": "unscored", "role": "neutral", "family": "neutral"},
        ],
        world.sets,
        level=world.level,
        traits=[ScoreInfo(*trait) for trait in world.traits],
        embeddings=(
            keys,
            np.stack([world.vectors[p] for p in keys]),
            {name: np.array([world.columns[name][p] for p in keys]) for name in POOL_COLUMNS},
        ),
        self_perplexity=(keys, *(np.array([world.columns[c][p] for p in keys]) for c in ("raw", "context"))),
        elicitation={
            "prompts": keys,
            "traits": traits,
            "judges": ["j"] * len(traits),
            "score": np.array([[world.score[trait, p] for p in keys] for trait in traits]),
            "baseline": np.array([world.baseline[trait] for trait in traits]),
        },
    )


WORLDS = {make.__name__: make for make in (holes, reversed_traits, examples_only, fixed_only)}
