"""Every public name has a Google-style docstring, and the examples in docstrings run.

Public is what a package lists in `__all__`, and the functions of registered heuristics. Functions say Args
(every parameter), Returns and Raises; the figures and the main entry points carry an example.
"""

import ast
import doctest
import importlib
import inspect
import pkgutil

import pytest
from make import pages

import inoc

from ..figures.worlds import write_world
from .docstrings import class_faults, definition, faults, function_faults, sections

MAIN = (
    "inoc.open_store",
    "inoc.difference",
    "inoc.heuristics.compute",
    "inoc.outcomes.suppression",
    "inoc.outcomes.predict",
)


def maths() -> list[str]:
    import inoc.heuristics.maths as package

    return [f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]


def public(package: str) -> dict[str, object]:
    """Functions and classes that a package or a module of bare functions offers, by full name."""
    module = importlib.import_module(package)
    if hasattr(module, "__all__"):
        named = pages.public(package)
    else:
        functions = [entry.function for entry in inoc.heuristics.heuristics().values()]
        names = {function.__qualname__ for function in functions if function.__module__ == package}
        named = {name: value for name, value in vars(module).items() if name in names}
    return {f"{package}.{name}": value for name, value in named.items()}


PACKAGES = [*pages.packages(), *maths()]


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings(package):
    wrong = [fault for name, value in public(package).items() for fault in faults(name, value)]
    assert not wrong, "\n".join(wrong)


def with_examples() -> dict[str, object]:
    """Public functions and classes whose docstring has an example."""
    found = {name: value for package in PACKAGES for name, value in public(package).items()}
    found = {name: value for name, value in found.items() if definition(value) is not None}
    return {name: value for name, value in found.items() if ">>> " in (inspect.getdoc(value) or "")}


def lacking() -> list[str]:
    plots = [name for name in public("inoc.figures") if ".plot_" in name]
    return [name for name in [*MAIN, *plots] if name not in with_examples()]


def test_figures_and_main_entry_points_have_an_example():
    assert not lacking()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with a small store of made-up numbers, study.zarr: the world of the examples."""
    folder = tmp_path_factory.mktemp("examples")
    write_world(folder / "study.zarr", each=4, trained=2, more=False)
    return folder


def failures(name: str, docstring: str, names: dict[str, object]) -> list[str]:
    """What the examples of a docstring print otherwise than written."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    said: list[str] = []
    example = doctest.DocTestParser().get_doctest(docstring, dict(names), name, None, 0)
    doctest.DocTestRunner(optionflags=flags, verbose=False).run(example, out=said.append)
    return said


@pytest.mark.parametrize("name", [name for name in with_examples() if ".plot_" not in name])  # tests/figures
def test_examples_run(name, study, monkeypatch):
    monkeypatch.chdir(study)
    store = inoc.open_store("study.zarr")
    said = failures(name, inspect.getdoc(with_examples()[name]) or "", {"inoc": inoc, "store": store})
    assert not said, "".join(said)


def test_a_wrong_example_is_found():
    assert failures("planted", ">>> 1 + 1\n2\n", {}) == []
    assert failures("planted", ">>> 1 + 1\n3\n", {})


GOOD = '''
def f(a: int, *, b: str = "") -> int:
    """One line.

    Args:
        a: Examples.
        b: A name.

    Returns:
        The number.

    Raises:
        BadInput: a is negative.

    Examples:
        >>> f(1)
        1
    """
    if a < 0:
        raise errors.BadInput("a")
    return a
'''
CLASS = '''
class C:
    """One line.

    Args:
        a: Examples.
    """

    def __init__(self, a: int) -> None: ...

    def m(self) -> int:
        """One line."""
'''


@pytest.mark.parametrize(
    ("removed", "fault"),
    [
        ("        b: A name.\n", "f: Args lacks b"),
        ("    Returns:\n        The number.\n", "f: no Returns"),
        ("        BadInput: a is negative.\n", "f: Raises lacks BadInput"),
        ('*, b: str = ""', "f: Args names b, which it does not take"),
        (GOOD[GOOD.index('    """One') : GOOD.index("    if a")], "f: no docstring"),
    ],
)
def test_a_docstring_that_lacks_something_is_found(removed, fault):
    def check(source: str) -> list[str]:
        node = ast.parse(source).body[0]
        assert isinstance(node, ast.FunctionDef)
        names = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
        return function_faults("f", node, ast.get_docstring(node) or "", names)

    assert check(GOOD) == []
    assert removed in GOOD
    assert check(GOOD.replace(removed, "")) == [fault]


@pytest.mark.parametrize(
    ("removed", "fault"),
    [
        ("        a: Examples.\n", "C: Args lacks a"),
        ('        """One line."""\n', "C.m: no docstring"),
        ('    """One line.\n\n    Args:\n        a: Examples.\n    """\n', "C: no docstring"),
    ],
)
def test_a_class_that_lacks_something_is_found(removed, fault):
    def check(source: str) -> list[str]:
        node = ast.parse(source).body[0]
        assert isinstance(node, ast.ClassDef)
        return class_faults("C", node)

    assert check(CLASS) == []
    assert removed in CLASS
    assert check(CLASS.replace(removed, "        pass\n" if "a:" not in removed else "")) == [fault]


def test_what_is_checked_is_the_source():
    """Decorated functions, too, and those under the checks of the test suite."""
    node = definition(inoc.open_store)
    assert isinstance(node, ast.FunctionDef)
    assert node.name == "open_store"
    assert sections("One.\n\nArgs:\n    a, b: c.\n    *d: e: f.\n\nMore.\n") == {"Args": ["a", "b", "d"]}
