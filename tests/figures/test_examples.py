"""The example of every plot function runs, and shows what it says."""

import doctest

import matplotlib.pyplot as plt
import pytest

import inoc

FAST = {"plot_losses", "plot_heuristic_scatter", "plot_rates", "plot_angle_map"}
"""The others repeat what `test_every_plot_draws_into_the_axes_it_is_given` draws."""


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


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in inoc.figures.PLOTS]
)
def test_example(name, names):
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(inoc, name), name, globs=dict(names))
    assert f"inoc.{name}(" in example.docstring
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    plt.close("all")
    assert result.attempted, "no example"
    assert not result.failed, "".join(said)
