"""Stores to draw: a made-up one with everything, and the reference data."""

from pathlib import Path

import matplotlib
import pytest
from click.testing import CliRunner

from inoc.cli import cli

from . import worlds

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The made-up store."""
    return worlds.write_world(tmp_path_factory.mktemp("figures") / "world.zarr")


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The same with few prompts, for tests that draw everything."""
    return worlds.write_world(tmp_path_factory.mktemp("figures") / "small.zarr", each=4, trained=3)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
    """Runs at four learning rates."""
    return worlds.write_sweep(tmp_path_factory.mktemp("figures") / "sweep.zarr")


@pytest.fixture(scope="session")
def misaligned(tmp_path_factory):
    return worlds.write_misalignment(tmp_path_factory.mktemp("figures") / "em.zarr")


@pytest.fixture(scope="session")
def two_files(tmp_path_factory):
    """The same, of two files of questions."""
    return worlds.write_misalignment(tmp_path_factory.mktemp("figures") / "two.zarr", files=True)


@pytest.fixture(scope="session")
def emerging(tmp_path_factory):
    """Simulated prefill counts of sixteen behaviors."""
    return worlds.write_emergence(tmp_path_factory.mktemp("figures") / "emergence.zarr")


def imported(options, path: Path) -> Path:
    result = CliRunner().invoke(cli, ["import", *map(str, options), "--store", str(path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="session")
def german_store(reference, tmp_path_factory):
    d = reference / "german_flattering"
    options = [d / "logprobs_by_example.json"]
    for name in ("prompts", "elicitation", "scores", "losses"):
        options += [f"--{name}", d / f"{name}.json"]
    return imported(options, tmp_path_factory.mktemp("figures") / "gf.zarr")


@pytest.fixture(scope="session")
def token_store(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("figures") / "tokens.zarr"
    return imported([reference / "token_logprobs" / "logprobs_by_token.json"], path)


@pytest.fixture(scope="session")
def one_role(tmp_path_factory):
    """A store whose prompts all ask for the same trait, one of them trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "FAMILIES", worlds.FAMILIES[:1])
        return worlds.write_world(tmp_path_factory.mktemp("figures") / "one.zarr", each=4, trained=1)
