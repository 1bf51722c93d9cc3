"""A world of files to spoil; tests marked `robust` are slow."""

from pathlib import Path

import pytest

from .attempt import attempt
from .world import import_arguments, write_world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("robust"):  # the name of this folder is a keyword of all its tests
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with its store; do not write to it."""
    from inoc.testing.tiny_models import tiny_model

    folder, logs = tmp_path_factory.mktemp("world"), tmp_path_factory.mktemp("logs")
    model = tmp_path_factory.mktemp("model") / "model"
    tiny_model(model, "qwen2", seed=1)
    write_world(folder, model)
    done = attempt(import_arguments(folder, folder / "good.zarr"), logs)
    assert done.code == 0, done
    return folder
