"""Shared fixtures. All of inoc is type- and shape-checked at run time while tests run (jaxtyping + beartype)."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import partial, wraps
from pathlib import Path
from types import CodeType, FunctionType
from typing import ForwardRef, ParamSpec, TypeVar, get_args

import jaxtyping
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook, jaxtyped

from .folders import pytest_collection_modifyitems, pytest_xdist_make_scheduler  # noqa: F401  # hooks
from .tally import table

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("SOURCE_DATE_EPOCH", "0")  # stores made at different times are compared byte by byte
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads that wait for each other are slower

os.environ.pop("COLUMNS", None)  # processes of pytest-xdist have that of its own report, which inoc would obey

# a store is thousands of small files: where memory has room for all that tests write, it is not the disk that gets them
if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 4e9:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")

# the hook's bytecode is kept, here and in the processes that tests start: making it costs more than half of an import
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# the same examples in every run; HYPOTHESIS_PROFILE=explore looks for new ones, twice as many
settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def _named(annotation: object) -> bool:
    """Whether an annotation has a name to be looked up, or a shape that is made of arguments."""
    if isinstance(annotation, str | ForwardRef) or "{" in repr(annotation):
        return True
    inner = annotation if isinstance(annotation, list) else get_args(annotation)
    return any(map(_named, inner))


def _shaped(function: Callable[P, R], typechecker: Callable[[T], T]) -> Callable[P, R]:
    """Arguments and result checked once, with sizes that agree; `jaxtyped` itself checks the arguments twice."""
    checked = typechecker(function)

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with jaxtyped("context"):
            return checked(*args, **kwargs)

    return inner


_nested: Counter[CodeType] = Counter()


def _checked(made: T, typechecker: Callable[[T], T]) -> T:
    """What the hook decorates: by beartype, which is faster than `jaxtyped`, where it can. A function inside a function
    is made again with each call of it: it is checked the first three times."""
    if isinstance(made, FunctionType) and "<locals>" in made.__qualname__:
        _nested[made.__code__] += 1
        if _nested[made.__code__] > 3:
            return made
    function = made.__init__ if isinstance(made, type) and is_dataclass(made) else made
    if not isinstance(function, FunctionType) or any(map(_named, function.__annotations__.values())):
        return jaxtyped(made, typechecker=typechecker)
    check = partial(_shaped, typechecker=typechecker) if "jaxtyping" in repr(function.__annotations__) else typechecker
    if function is made:
        return check(made)
    made.__init__ = check(function)
    return made


jaxtyping.jaxtyped = lambda typechecker: partial(_checked, typechecker=typechecker)
hook = install_import_hook("inoc", "beartype.beartype")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := table():
        terminalreporter.section("robustness: tries and survived")
        for line in lines:
            terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


@pytest.fixture(autouse=True)
def quick_disk() -> Iterator[None]:
    """Nothing waits for the disk: only a loss of power would show the difference."""
    from inoc.atomic import without_flushing

    with without_flushing():
        yield


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference data (real logprobs and scores); tests that need it skip where it is absent."""
    place = os.environ.get("INOC_REFERENCE_DATA")
    if not place:
        pytest.skip("INOC_REFERENCE_DATA is not set: the reference data are not part of the repository")
    path = Path(place)
    if not (path / "german_flattering" / "golden.json").is_file():
        pytest.fail(f"INOC_REFERENCE_DATA={place} holds no german_flattering/golden.json")
    return path
