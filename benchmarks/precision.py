"""What bfloat16 does to every heuristic: the testbed's training completions scored in float32 and in bfloat16.

    python -m benchmarks.precision             # some minutes on a CPU

An error is set against the spread of the heuristic over prompts, because a heuristic is read as a comparison of
prompts: 0.01 of an SD moves nothing. Seven prompts carry no correlation, so there is none.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.backends.local import LocalBackend
from inoc.backends.protocols import ModelSpec
from inoc.experiment import load_experiment
from inoc.heuristics import compute
from inoc.plan import Study
from inoc.stages.score import score
from inoc.store.store import open_store
from inoc.testbed import experiment_path

Values = Float64[np.ndarray, "prompt other"]


def table(dtype: str, store: Path, prompts: list[str]) -> xr.Dataset:
    """All heuristics of the testbed's experiment, scored in this precision."""
    experiment = load_experiment(experiment_path())
    model = experiment.model.model_copy(update={"dtype": dtype})
    experiment = experiment.model_copy(update={"model": model})
    backend = LocalBackend(ModelSpec("testbed", dtype=dtype))
    score(Study(experiment, backend, store), sets=["train"], prompts=prompts)
    return compute(open_store(store))


def by_prompt(values: xr.DataArray) -> Values:
    moved = values.transpose("prompt", ...).values.astype(np.float64)
    return moved.reshape(moved.shape[0], -1)


def row(name: str, exact: Values, coarse: Values) -> str | None:
    """One row: spread and error in units of it; None for what does not differ between prompts."""
    with np.errstate(invalid="ignore"):
        spread = np.nanstd(exact, axis=0)
        used = spread > 1e-9 * np.nanmax(np.abs(exact), initial=1.0)
        if not used.any():
            return None
        error = np.abs(coarse - exact)[:, used] / spread[used]
    return f"| `{name}` | {np.nanmedian(spread[used]):.3g} | {np.nanmedian(error):.4f} | {np.nanmax(error):.3f} |"


def study(prompts: list[str]) -> list[str]:
    with tempfile.TemporaryDirectory() as place:
        exact, coarse = (table(dtype, Path(place) / f"{dtype}.zarr", prompts) for dtype in ("float32", "bfloat16"))
    names = [
        str(name)
        for name, values in exact.data_vars.items()
        if "prompt" in values.dims and np.issubdtype(values.dtype, np.floating)
    ]
    rows = [row(name, by_prompt(exact[name]), by_prompt(coarse[name])) for name in names]
    return [
        "| heuristic | SD over prompts | median error / SD | largest error / SD |",
        "|---|---|---|---|",
        *[line for line in rows if line],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", nargs="*", default=[], help="keys; all without it")
    print("\n".join(study(parser.parse_args().prompts)))


if __name__ == "__main__":
    main()
