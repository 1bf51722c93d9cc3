"""Which engine runs the work per token: NumPy blocks, or one jitted JAX kernel. Chosen in one place, here."""

import os
from importlib.util import find_spec
from typing import Literal

from inoc.errors import BadInput
from inoc.heuristics.tokens.numpy_engine import NumpyEngine
from inoc.heuristics.tokens.terms import Engine
from inoc.names import unknown

EngineName = Literal["auto", "numpy", "jax"]


def choose(engine: str = "auto") -> Engine:
    """The engine of that name.

    `auto` is JAX where an accelerator is present and NumPy otherwise: on a CPU the JAX kernel saves less than
    it costs to import and start (benchmarks/RESULTS.md).

    Raises:
        BadInput: The name is not one of `EngineName`.
    """
    if engine == "auto":
        engine = "jax" if accelerator_present() else "numpy"
    if engine == "numpy":
        return NumpyEngine()
    if engine == "jax":
        from inoc.heuristics.tokens.jax_engine import JaxEngine

        return JaxEngine()
    raise BadInput(unknown("engine", engine, ("auto", "numpy", "jax")))


def accelerator_present() -> bool:
    """Whether JAX would not run on a CPU; imports JAX only if one of its device plugins is installed."""
    if os.environ.get("JAX_PLATFORMS") == "cpu" or not (find_spec("jax_plugins") or find_spec("libtpu")):
        return False
    import jax

    return jax.default_backend() != "cpu"
