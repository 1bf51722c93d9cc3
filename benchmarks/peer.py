"""The same heuristics written plainly with NumPy and scikit-learn: peer in benchmarks, oracle in tests.

Whole-matrix expressions, one per formula, nothing shared with inoc; where a library has the operation (PCA,
SVD), the library is used. `numbers` computes what `inoc heuristics` computes from token logprobs; run as a
module it reads a store with zarr alone and prints how long that took.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np


def loss_decay(size: np.ndarray, rate: float = 0.01, steps: int = 32) -> tuple[np.ndarray, np.ndarray]:
    left, total = size.copy(), np.zeros_like(size)
    for _ in range(steps):
        gradient = 1 - np.exp(-left)
        total += gradient
        left = np.maximum(left - rate * gradient, 0)
    return total, left


def top_quarter(row: np.ndarray, share: float = 0.25) -> float:
    size = np.abs(row)
    n = max(1, int(share * len(row)))
    boundary = np.partition(size, len(row) - n)[len(row) - n]
    above = size > boundary
    return float((row[above].sum() + (n - above.sum()) * row[size == boundary].mean()) / n)


def padded(row: np.ndarray, row_size: np.ndarray, width: int) -> np.ndarray:
    """[example, position], NaN beyond an example's end."""
    matrix = np.full((len(row_size), width), np.nan, row.dtype)
    start = 0
    for i, size in enumerate(row_size):
        n = min(size, width)
        matrix[i, :n] = row[start : start + n]
        start += size
    return matrix


def spectrum(matrix: np.ndarray) -> tuple[float, float]:
    energy = np.linalg.svd(matrix, compute_uv=False) ** 2
    share = energy / energy.sum()
    return float(share[0]), float(np.argmax(share.cumsum() >= 0.5) + 1)


def published_spectrum(matrix: np.ndarray) -> tuple[float, float]:
    from sklearn.decomposition import TruncatedSVD

    model = TruncatedSVD(min(200, len(matrix) - 1, matrix.shape[1]), random_state=42).fit(matrix)
    share = model.explained_variance_ratio_
    return float(share[0]), float(np.argmax(share.cumsum() >= 0.5) + 1)


def row_statistics(delta: np.ndarray, row_size: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """`delta`: [prompt, token] without missing pairs. One value per prompt."""
    size = np.abs(delta)
    gradient = 1 - np.exp(-size)
    strong = size > 0.5
    total, left = loss_decay(size)
    matrices = [padded(row, row_size, width) for row in delta]
    reached = np.isfinite(matrices[0]).sum(axis=0)
    usable = reached >= 10
    moved = np.array([(np.abs(matrix) > 0.1).sum(axis=0) for matrix in matrices])
    shares = np.array([spectrum(np.nan_to_num(matrix[:, :512])) for matrix in matrices])
    return {
        "mean_abs": size.mean(axis=1),
        "mean_signed": delta.mean(axis=1),
        "mean_square": (delta**2).mean(axis=1),
        "filtered": (delta * strong).mean(axis=1),
        "top_quarter": np.array([top_quarter(row) for row in delta]),
        "gradient": gradient.mean(axis=1),
        "filtered_gradient": (gradient * strong).mean(axis=1),
        "loss_decay": total.mean(axis=1),
        "residual": left.mean(axis=1),
        "persistent": (moved[:, usable] >= 0.5 * reached[usable]).sum(axis=1) / max(usable.sum(), 1),
        "coherence": shares[:, 0],
        "effective_rank": shares[:, 1],
    }


def pointwise(w: np.ndarray) -> dict[str, np.ndarray]:
    sigma = w.std(axis=1, ddof=1)
    return {
        "ph": w.mean(axis=1),
        "gamma": (w > 0).mean(axis=1),
        "sigma": sigma,
        "snr": w.mean(axis=1) / sigma,
        "mald": np.abs(w).mean(axis=1),
    }


def spectra(rows: np.ndarray, components: int = 5) -> dict[str, np.ndarray]:
    """PCA, scaled PCA and SVD coordinates of a prompts x columns matrix."""
    from sklearn.decomposition import PCA, TruncatedSVD
    from sklearn.preprocessing import StandardScaler

    n = min(components, *rows.shape)
    pca = PCA(n, random_state=0).fit(rows)
    scaled = PCA(n, random_state=0).fit(StandardScaler().fit_transform(rows))
    svd = TruncatedSVD(min(n, rows.shape[1] - 1), random_state=0)
    return {
        "pca": pca.transform(rows),
        "pca_share": pca.explained_variance_ratio_,
        "scaled_pca_share": scaled.explained_variance_ratio_,
        "svd": svd.fit_transform(rows),
    }


def angles(rows: np.ndarray) -> np.ndarray:
    """Degrees between all pairs of rows."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))


def gap(fixed: np.ndarray, mix: np.ndarray) -> dict[str, np.ndarray]:
    one, two = pointwise(fixed), pointwise(mix)
    p = np.abs(mix) / np.abs(mix).sum(axis=1, keepdims=True)
    return {
        "ph_ratio": two["ph"] / one["ph"],
        "variance_diff": two["sigma"] ** 2 - one["sigma"] ** 2,
        "cosine": (fixed * mix).sum(axis=1) / np.linalg.norm(fixed, axis=1) / np.linalg.norm(mix, axis=1),
        "effective_rank_mix": np.exp(-(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)),
        "snr_ratio": two["snr"] / one["snr"],
        "mald_ratio": two["mald"] / one["mald"],
    }


def numbers(default: np.ndarray, prefixed: np.ndarray, row_size: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Everything, per prefix type; `prefixed` is [prefix_type, prompt, token]."""
    starts = np.cumsum(row_size) - row_size
    width = int(row_size.max())
    rare = default < np.log(0.1)
    out: dict[str, dict[str, np.ndarray]] = {}
    means: list[np.ndarray] = []
    for f, logprobs in enumerate(prefixed):
        delta = logprobs - default
        w = np.add.reduceat(delta, starts, axis=1, dtype=np.float64) / row_size
        means.append(w)
        raised = (logprobs[:, rare] > np.log(0.1)).sum(axis=1)
        tokens, points = spectra(delta), spectra(w)
        out[str(f)] = {
            **row_statistics(delta, row_size, width),
            **pointwise(w),
            "recovered": raised / rare.sum(),
            "recovered_of_all": raised / delta.shape[1],
            "w": w,
            **{f"tokenwise_{name}": value for name, value in tokens.items()},
            **{f"pointwise_{name}": value for name, value in points.items()},
            **{
                f"angle_{level}_{name}": angles(rows)
                for level, found, raw in (("tokenwise", tokens, delta), ("pointwise", points, w))
                for name, rows in (("raw", raw), ("pca", found["pca"][:, :2]), ("svd", found["svd"][:, :2]))
            },
        }
    if len(means) == 2:
        out["gap"] = gap(*means)
    return out


def read(store: Path, completion_set: str = "train") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(default, prefixed, row_size) of a run store, with zarr alone."""
    import zarr

    group = zarr.open_group(store, mode="r", path=f"logprobs/{completion_set}")
    return tuple(np.asarray(group[name]) for name in ("default", "prefixed", "row_size"))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    numbers(-rng.random(60), -rng.random((2, 6, 60)), np.full(12, 5))  # libraries are imported by now
    begin, cpu = time.perf_counter(), time.process_time()
    arrays = read(arguments.store)
    between = time.perf_counter()
    numbers(*arrays)
    seconds = {"read": between - begin, "compute": time.perf_counter() - between}
    print(json.dumps({**seconds, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
