"""The table of the robustness suite: tries and survived, by kind."""

from collections import Counter
from pathlib import Path

import pytest

from .attempt import attempt
from .world import import_arguments, write_world

TRIES: Counter[str] = Counter()
SURVIVED: Counter[str] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "robust" in item.keywords:
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TRIES:
        return
    terminalreporter.section("robustness: tries and survived")
    for kind in sorted(TRIES):
        terminalreporter.write_line(f"{kind:<40}{TRIES[kind]:>8}{SURVIVED[kind]:>10}")
    terminalreporter.write_line(f"{'all':<40}{TRIES.total():>8}{SURVIVED.total():>10}")


def count(kind: str, survived: bool) -> None:
    """Add a try to the table."""
    TRIES[kind] += 1
    SURVIVED[kind] += survived


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
