"""The suite of heuristics, and a small store to compute them on. Name what your package registers:

class TestHeuristics(HeuristicConformance):
    names = ("median_difference",)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from inoc.heuristics import Table, find, measure
from inoc.store import PromptInfo, ScoreInfo, Store, StoreWriter, Unit, open_store

PROMPTS: Mapping[str, tuple[str, str]] = {
    "german": ("positive", "german"), "berlin": ("positive", "german"), "applaud": ("negative", "flattering"),
    "flatter": ("negative", "flattering"), "plain": ("neutral", "neutral"), "sky": ("neutral", "neutral"),
}  # fmt: skip
"""Role and family of every prompt of the small store."""
SETS = {"train": 12, "control": 5, "positive": 6, "negative": 7}
TRAITS = (ScoreInfo("German", "positive", "german"), ScoreInfo("Flattering", "negative", "flattering"))


def small_store(directory: Path, *, seed: int = 0, lost: str = "") -> Store:
    """Write a store with logprobs of every token, elicitation and a control run, with made-up values.

    Args:
        directory: Where; made if it does not exist.
        seed: Of the values.
        lost: A prompt whose mix was not scored, and of whose fixed prefix a few tokens are missing.

    Returns:
        The store, open for reading.
    """
    random = np.random.default_rng(seed)
    with StoreWriter.open(directory, identity={}, experiment={}, provenance={}, traits=TRAITS) as writer:
        writer.put_prompts([PromptInfo(key, f"{key}!", "g", family, role) for key, (role, family) in PROMPTS.items()])
        for name, examples in SETS.items():
            sizes = random.integers(3, 9, examples)
            default = random.normal(-2, 0.7, int(sizes.sum())).clip(max=0).astype(np.float32)
            writer.put_completions(name, example_ids=[f"{name} {i}" for i in range(examples)], row_size=sizes)
            writer.plan(name, prefix_types=("fixed", "mix"), prompts=tuple(PROMPTS))
            writer.put_default(name, default)
            for key in PROMPTS:
                for kind in ("fixed", "mix"):
                    row = (default + random.normal(0.1, 0.5, default.shape)).clip(max=0).astype(np.float32)
                    if key == lost and kind == "fixed":
                        row[::5] = np.nan
                    if key != lost or kind == "fixed":
                        writer.put_unit(Unit(name, kind, key), row, level="token")
        questions = [f"question {i}" for i in range(8)]
        score = random.uniform(0, 100, (len(TRAITS), len(PROMPTS), len(questions)))
        writer.put_elicitation(
            prompts=list(PROMPTS), traits=[trait.name for trait in TRAITS], instructions=questions, score=score,
            judges=["made up"] * len(TRAITS), baseline=score[:, 0] / 4,
        )  # fmt: skip
    return open_store(directory)


class HeuristicConformance:
    """A heuristic has the dims it declares, depends on what it should, and disturbs no other."""

    names: ClassVar[tuple[str, ...]] = ()
    """The heuristics, by the names they are registered under."""
    relative: ClassVar[tuple[str, ...]] = ()
    """Those whose value of a prompt depends on which other prompts are asked for, such as a z-score."""

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory: pytest.TempPathFactory) -> Store:
        """What they are computed on; it must have what they need."""
        return small_store(tmp_path_factory.mktemp("store") / "small.zarr")

    @pytest.fixture(scope="class")
    @classmethod
    def holed(cls, tmp_path_factory: pytest.TempPathFactory) -> Store:
        """The same with missing tokens (applaud, fixed) and a unit that was not scored (applaud, mix)."""
        return small_store(tmp_path_factory.mktemp("store") / "holed.zarr", lost="applaud")

    @pytest.fixture(scope="class")
    @classmethod
    def table(cls, store: Store) -> Table:
        """All of them."""
        return measure(store, only=cls.names)

    def values(self, table: Table, name: str) -> np.ndarray:
        """The values of one, prompts first; skips the test where it has none."""
        variable = table.variables[name]
        if "prompt" not in variable.dims:
            pytest.skip(f"{name} is not of prompts")
        return np.moveaxis(np.asarray(variable.values, np.float64), variable.dims.index("prompt"), 0)

    def test_they_are_computed(self, table: Table) -> None:
        assert self.names, "the suite has no names"
        for name in self.names:
            assert name in table.variables, f"{name} is absent: {table.absent.get(name)}"
            variable, sizes = table.variables[name], {dim: len(labels) for dim, labels in table.coords.values()}
            assert variable.dims == find(name).dims
            for dim, size in zip(variable.dims, np.shape(variable.values), strict=True):
                assert sizes.get(dim, size) == size, f"{name}: {size} values along {dim}"
            assert np.isfinite(np.asarray(variable.values, np.float64)).any(), f"{name} is NaN everywhere"
            assert variable.attrs["long_name"]
            assert variable.attrs["units"]

    def test_the_same_again(self, store: Store, table: Table) -> None:
        again = measure(store, only=self.names)
        for name in self.names:
            np.testing.assert_array_equal(again.variables[name].values, table.variables[name].values)

    def test_some_prompts_in_another_order(self, store: Store, table: Table) -> None:
        chosen = ("plain", "german", "applaud")
        part = measure(store, only=self.names, prompts=chosen)
        labels = [str(key) for key in part.coords["prompt"][1]]
        places = [list(PROMPTS).index(key) for key in labels]
        assert sorted(labels) == sorted(chosen)
        for name in self.names:
            found = self.values(part, name)
            assert found.shape[0] == len(chosen)
            if name not in self.relative:
                np.testing.assert_allclose(found, self.values(table, name)[places], rtol=1e-6, atol=1e-9)

    def test_missing_data_stay_where_they_are(self, table: Table, holed: Store) -> None:
        """What was not scored is NaN there; missing tokens are left out; other prompts are unchanged."""
        found = measure(holed, only=self.names)
        place = list(PROMPTS).index("applaud")
        for name in self.names:
            assert name in found.variables, f"{name} is absent: {found.absent.get(name)}"
            dims = tuple(dim for dim in found.variables[name].dims if dim != "prompt")
            values = self.values(found, name)
            whole = np.isfinite(values[[i for i in range(len(values)) if i != place]])
            assert whole.any(), f"{name}: one prompt with missing data leaves no value at all"
            if "prefix_type" in dims:
                cells = np.moveaxis(values, 1 + dims.index("prefix_type"), 1)
                assert np.isnan(cells[place, 1]).all(), f"{name} has a value where nothing was scored"
                assert np.isfinite(cells[place, 0]).any(), f"{name} is NaN where a few tokens are missing"

    def test_both_recipes(self, store: Store, table: Table) -> None:
        published = measure(store, only=self.names, recipe="published")
        for name in self.names:
            assert published.variables[name].dims == table.variables[name].dims
            assert np.shape(published.variables[name].values) == np.shape(table.variables[name].values)

    def test_they_disturb_no_other(self, store: Store) -> None:
        """inoc's own heuristics are the same, to the last bit, when these are computed with them."""
        own = ("ph", "gamma")
        alone, along = measure(store, only=own), measure(store, only=(*self.names, *own))
        for name in own:
            np.testing.assert_array_equal(along.variables[name].values, alone.variables[name].values)
