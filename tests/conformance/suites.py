"""Runs a conformance suite in this process, without a pytest session of its own: a bug costs milliseconds."""

import inspect
from collections.abc import Iterator, Mapping

import pytest
from beartype.roar import BeartypeException


def outcomes(suite: object, given: Mapping[str, object], folders: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Every test of a suite in the order of its definition, with `passed`, `skipped` or what it failed with.

    `given` are fixtures that take the place of the suite's own; one that can be called is made for every test.
    """
    made: dict[str, object] = {**given, "tmp_path_factory": folders}

    def fixture(name: str) -> object:
        if name == "tmp_path":
            return folders.mktemp("test", numbered=True)
        if name in given and callable(given[name]):
            return given[name]()  # made again for every test
        if name not in made:
            function = getattr(type(suite), name)._get_wrapped_function()
            made[name] = call(getattr(function, "__func__", function), {})
        return made[name]

    def call(function, chosen: Mapping[str, object]) -> object:
        names = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
        return function(suite, **{name: chosen[name] if name in chosen else fixture(name) for name in names})

    tests = [name for kind in type(suite).__mro__ for name in vars(kind) if name.startswith("test_")]
    for name in dict.fromkeys(tests):
        test = getattr(type(suite), name)
        marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        cases = [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]
        for case in cases:
            label = name + "".join(f"[{value}]" for value in case.values())
            try:
                call(test, case)
            except pytest.skip.Exception:
                yield label, "skipped"
            except BeartypeException:  # only our own tests check types
                raise
            except (Exception, pytest.fail.Exception) as error:
                yield label, f"{type(error).__name__}: {error}"
            else:
                yield label, "passed"


def first_failure(suite: object, given: Mapping[str, object], folders: pytest.TempPathFactory) -> str | None:
    """The first test of a suite that fails; None where none does."""
    return next((name for name, result in outcomes(suite, given, folders) if result not in ("passed", "skipped")), None)
