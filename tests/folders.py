"""Which process of pytest-xdist runs which tests: those of a folder one (`--dist loadscope`), so that what they share
is made once. (`--dist loadgroup` of pytest-xdist 3.8 groups nothing under pytest 9.2, and does not say so.)"""

import pytest

LONGEST = ("study", "outcomes", "store", "figures", "cluster", "emergence", "tinker", "openai_server", "local")
"""Folders whose tests take longest: they begin first, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.partition("::")[0].rpartition("/")[0]

    config.option.loadscopereorder = False  # the order of collection
    return ByFolder(config, log)
