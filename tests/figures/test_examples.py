"""The example of every plot function runs, and shows what it says."""

import doctest

import matplotlib.pyplot as plt
import pytest

import inoc


@pytest.fixture(scope="module")
def names(small, misaligned, two_files, emerging, sweep):
    """What the examples may use."""
    return {
        "inoc": inoc,
        "store": inoc.open_store(small),
        "misaligned": inoc.open_store(misaligned),
        "two_files": inoc.open_store(two_files),
        "emerging": inoc.open_store(emerging),
        "sweep": inoc.open_store(sweep),
    }


@pytest.mark.parametrize("name", inoc.figures.PLOTS)
def test_example(name, names):
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(inoc, name), name, globs=dict(names))
    assert f"inoc.{name}(" in example.docstring
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    plt.close("all")
    assert result.attempted, "no example"
    assert not result.failed, "".join(said)
