"""Objects found by name: shipped ones and those of other packages, of which a broken one stops nothing."""

import sys
import warnings
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from inoc import plugins
from inoc.errors import BackendUnavailable, BadInput
from inoc.plugins import Plugin, Registry


@dataclass
class Package:
    name: str
    version: str


@dataclass
class Point:
    """What `importlib.metadata` gives for an entry point of an installed package."""

    name: str
    value: str
    dist: Package | None


def number(loaded: object, plugin: Plugin) -> int:
    if not isinstance(loaded, int):
        raise TypeError(f"{plugin.target} is not a number")
    return loaded


@pytest.fixture
def registry(monkeypatch):
    """Two shipped numbers; a package `other` with a good one, a text, a missing module and a taken name."""
    other = Package("other", "1.2")
    points = [
        Point("own", "inoc.names:LISTED", Package("inoc", "0")),
        Point("zip", "zipfile:ZIP_DEFLATED", other),
        Point("text", "zipfile:__doc__", other),
        Point("lost", "no_such_module:thing", other),
        Point("short", "zipfile:ZIP_STORED", other),
        Point("loose", "zipfile:ZIP_BZIP2", None),
    ]
    monkeypatch.setattr(plugins.importlib.metadata, "entry_points", lambda group: points if group == "inoc.n" else [])
    shipped = {"short": "inoc.hashing:SHORT", "level": "sched:scheduler"}
    return Registry("inoc.n", "number", shipped, number)


@pytest.mark.filterwarnings("ignore:number 'short'")
class TestRegistry:
    def test_names_come_in_order_and_import_nothing(self, registry):
        sys.modules.pop("sched", None)
        assert registry.names() == ("short", "level", "loose", "lost", "text", "zip")
        assert "sched" not in sys.modules

    def test_shipped_and_foreign_are_found(self, registry):
        assert (registry.get("short"), registry.get("zip"), registry.get("loose")) == (16, 8, 12)

    def test_a_missing_name_suggests_the_nearest(self, registry):
        with pytest.raises(BadInput, match=r"unknown number 'shrt'\. Fix: did you mean 'short'\?"):
            registry.get("shrt")

    @pytest.mark.parametrize(
        ("name", "why"), [("lost", "ModuleNotFoundError: .*no_such_module"), ("text", "TypeError: .*not a number")]
    )
    def test_a_broken_one_is_named_with_its_package(self, registry, name, why):
        with pytest.raises(BackendUnavailable, match=f"number '{name}' of other 1.2 .*{why}.*Fix: .*other"):
            registry.get(name)

    def test_a_broken_one_stops_nothing_else(self, registry):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = registry.all()
        assert found == {"short": 16, "zip": 8, "loose": 12}
        assert sorted(str(w.message).split("'")[1] for w in caught if "loaded" in str(w.message)) == [
            "level", "lost", "text",
        ]  # fmt: skip

    def test_what_is_loaded_is_kept_until_reset(self, registry, monkeypatch):
        assert registry.get("zip") == 8
        monkeypatch.setattr("zipfile.ZIP_DEFLATED", 9)
        assert registry.get("zip") == 8
        registry.reset()
        assert registry.get("zip") == 9


def test_a_taken_name_is_ignored_with_a_warning(registry):
    with pytest.warns(RuntimeWarning, match=r"number 'short' of other 1.2 .*one of inoc and is ignored\. Fix: rename"):
        assert registry.get("short") == 16


def test_a_plugin_is_a_module_an_attribute_or_an_attribute_of_one():
    assert Plugin("a", "zipfile").load() is sys.modules["zipfile"]
    assert Plugin("a", "zipfile:ZipFile.open").load() is sys.modules["zipfile"].ZipFile.open
    assert str(Plugin("a", "zipfile", "other", "1.2")) == "other 1.2"
    assert EntryPoint("a", "zipfile:ZipFile", "g").load() is Plugin("a", "zipfile:ZipFile").load()
