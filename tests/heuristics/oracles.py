"""Every heuristic a second time: from bare arrays, with SciPy, scikit-learn and plain loops, without inoc.

An oracle is a function of a `View` and of the labels of one cell, named as the variable it predicts; the
decorator says which dims are looped over and which the function returns itself.
"""
# ruff: noqa: B019 (a View lives as long as the tests)

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, permutations, product

import numpy as np
import xarray as xr
from scipy import stats
from scipy.spatial import distance
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import StandardScaler

from .oracle_worlds import LAYERS, POOL_COLUMNS, World

GROUPS = {
    "within_negative": ("negative", "negative"),
    "within_positive": ("positive", "positive"),
    "cross": ("negative", "positive"),
    "negative_neutral": ("negative", "neutral"),
    "positive_neutral": ("positive", "neutral"),
}
OTHER = {"positive": "negative", "negative": "positive"}


class View:
    """A world as one call of `compute` sees it: recipe and prompts at hand."""

    def __init__(self, world: World, recipe: str = "corrected", prompts: tuple[str, ...] | None = None) -> None:
        self.world, self.recipe = world, recipe
        self.published = recipe == "published"
        self.prompts = tuple(p for p in world.roles if prompts is None or p in prompts)
        self.roles = {p: world.roles[p] for p in self.prompts}
        self.kinds = world.kinds
        self.traits = {name: role for name, role, _ in world.traits}
        self.labels: dict[str, tuple[object, ...]] = {
            "prompt": self.prompts,
            "other_prompt": self.prompts,
            "prefix_type": self.kinds,
            "trait": tuple(self.traits),
            "component": (1, 2, 3, 4, 5),
            "completion_set": tuple(name for name in world.sets if name != "train"),
            "representation": ("raw", "svd2", "pca2"),
            "category": tuple(GROUPS),
            "predictor": (
                "angle_from_pca_axis", "angle_from_svd_axis",
                "angle_to_centroid_pca", "angle_to_centroid_svd", "angle_to_centroid_raw",
            ),
            "bound": ("lower", "upper"),
            "variant": ("raw", "pca1", "svd1"),
            "layer": LAYERS,
        }  # fmt: skip

    @cache
    def delta(self, kind: str, prompt: str, completion_set: str = "train") -> np.ndarray:
        """Differences by token in float32 as stored (by example in float64); all NaN if never scored."""
        stored = self.world.sets[completion_set]
        if (kind, prompt) not in stored.prefixed:
            return np.full(stored.default.shape, np.nan)
        return (stored.prefixed[kind, prompt] - stored.default).astype(np.float64)

    @cache
    def w(self, kind: str, prompt: str, completion_set: str = "train") -> np.ndarray:
        """Mean of the finite differences of each example."""
        pieces = self.pieces(kind, prompt, completion_set)
        return np.array([mean(piece) for piece in pieces])

    def pieces(self, kind: str, prompt: str, completion_set: str = "train") -> list[np.ndarray]:
        """The differences of each example."""
        sizes = self.world.sets[completion_set].row_size
        return np.split(self.delta(kind, prompt, completion_set), np.cumsum(sizes)[:-1])

    @cache
    def rows(self, matrix: str, kind: str) -> np.ndarray:
        """Prompts x examples of w, or prompts x tokens of delta."""
        return np.stack([getattr(self, matrix)(kind, p) for p in self.prompts])

    def source(self, kind: str) -> str:
        """Whose differences serve a prefix type where the published recipe knows only fixed ones."""
        return "fixed" if self.published else kind

    def members(self, trait: str) -> set[str]:
        """Prompts of a trait's family; without a family, of its role."""
        for name, role, family in self.world.traits:
            if name == trait:
                return {
                    p for p in self.prompts if (self.world.families[p] == family if family else self.roles[p] == role)
                }
        raise KeyError(trait)

    def neutral(self) -> set[str]:
        return {p for p in self.prompts if "neutral" in (self.roles[p], self.world.families[p])}

    @cache
    def space(self, matrix: str, kind: str, *, centered: bool, scaled: bool = False) -> "Space":
        return Space(self.rows(matrix, kind), self.prompts, centered, scaled)

    def stored(self, column: str, prompt: str) -> float:
        return self.world.columns[column].get(prompt, np.nan)

    def unit(self, prompt: str) -> np.ndarray | None:
        vector = self.world.vectors.get(prompt)
        return None if vector is None else vector.astype(np.float64) / np.linalg.norm(vector.astype(np.float64))


class Space:
    """PCA or SVD of rows, from numpy.linalg.svd of the matrix itself; missing entries are 0."""

    def __init__(self, rows: np.ndarray, prompts: tuple[str, ...], centered: bool, scaled: bool = False) -> None:
        used = np.isfinite(rows).any(1)
        kept = [p for p, use in zip(prompts, used, strict=True) if use]
        x = rows[used]
        if scaled:
            with warnings.catch_warnings(action="ignore"):
                x = StandardScaler().fit_transform(x)
        plain = np.where(np.isfinite(x), x, 0.0)
        x = plain - plain.mean(0) if centered else plain
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        scores = u * s
        n = min(5, len(kept))
        self.coordinates = {p: np.full(5, np.nan) for p in prompts}
        for j in range(n):
            column = scores[:, j] if s[j] > 1e-7 * s[0] else np.zeros(len(kept))  # without rounding errors
            sign = np.sign(column[np.argmax(np.abs(column))])
            for p, value in zip(kept, column, strict=True):
                self.coordinates[p][j] = sign * value
        self.share, self.ratio = np.full(5, np.nan), np.full(5, np.nan)
        self.share[:n] = s[:n] ** 2 / (s**2).sum()
        self.ratio[:n] = scores[:, :n].var(0) / plain.var(0).sum()


ORACLES: dict[str, Callable[[View], xr.DataArray]] = {}


def oracle(dims: str, returns: str = "", *, both: bool = False, name: str = "") -> Callable[..., Callable[..., object]]:
    """Register a function of (view, *labels of `dims`) that returns an array of dims `returns`.

    `both`: the function takes the matrix ("w" or "delta") after the view and serves `x` and `token_x`.
    """

    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        own = name or function.__name__
        token = own.replace("trait_", "trait_token_") if own.startswith("trait_") else f"token_{own}"
        for found, arguments in ((own, ("w",)), (token, ("delta",))) if both else ((own, ()),):

            def make(view: View, arguments: tuple[str, ...] = arguments) -> xr.DataArray:
                looped, rest = dims.split(), returns.split()
                cells = product(*(view.labels[dim] for dim in looped))
                values = np.array([function(view, *arguments, *cell) for cell in cells], dtype=np.float64)
                coords = {dim: list(view.labels[dim]) for dim in looped + rest}
                return xr.DataArray(values.reshape([len(x) for x in coords.values()]), coords, looped + rest)

            ORACLES[found] = make
        return function

    return decorate


@cache
def expected(view: View, name: str) -> xr.DataArray:
    """What a variable must be, labeled."""
    return ORACLES[name](view)


def differs(found: xr.DataArray, view: View) -> str:
    """How a variable differs from its oracle; empty if it does not."""
    return differs_from(found, expected(view, str(found.name)))


def differs_from(found: xr.DataArray, wanted: xr.DataArray) -> str:
    """How a variable differs from what it must be. 1e-6 is float32, the store's precision."""
    if set(found.dims) != set(wanted.dims):
        return f"dims {found.dims}, not {wanted.dims}"
    for dim in wanted.dims:
        if found[dim].values.tolist() != wanted[dim].values.tolist():
            return f"labels of {dim}: {found[dim].values.tolist()}"
    values = found.transpose(*wanted.dims).values
    wrong = ~np.isclose(values, wanted.values, rtol=2e-5, atol=1e-6, equal_nan=True)
    if not wrong.any():
        return ""
    cell = tuple(np.argwhere(wrong)[0])
    at = {dim: wanted[dim].values[i] for dim, i in zip(wanted.dims, cell, strict=True)}
    return f"{wrong.sum()} of {wrong.size} values, for example {values[cell]}, not {wanted.values[cell]}, at {at}"


def finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def mean(values: np.ndarray) -> float:
    found = finite(values)
    return float(sum(found.tolist()) / len(found)) if len(found) else np.nan


def std(values: np.ndarray, ddof: int = 1) -> float:
    found = finite(values)
    return np.sqrt(((found - mean(found)) ** 2).sum() / (len(found) - ddof)) if len(found) > ddof else np.nan


def quotient(a: float, b: float, floor: float = 0.0) -> float:
    return a / b if abs(b) > floor else np.nan


def t_interval(values: np.ndarray) -> tuple[float, float]:
    found = finite(values)
    if len(found) < 2:
        return np.nan, np.nan
    half = stats.t.ppf(0.975, len(found) - 1) * stats.sem(found)
    return found.mean() - half, found.mean() + half


# pointwise


@oracle("prefix_type prompt")
def n_examples(v: View, kind: str, prompt: str) -> float:
    return len(finite(v.w(kind, prompt)))


@oracle("prefix_type prompt")
def ph(v: View, kind: str, prompt: str) -> float:
    return mean(v.w(kind, prompt))


@oracle("prefix_type prompt", "bound")
def ph_ci(v: View, kind: str, prompt: str) -> tuple[float, float]:
    return t_interval(v.w(kind, prompt))


@oracle("prefix_type prompt")
def gamma(v: View, kind: str, prompt: str) -> float:
    w = finite(v.w(kind, prompt))
    return quotient(sum(x > 0 for x in w), len(w))


@oracle("prefix_type prompt", "bound")
def gamma_ci(v: View, kind: str, prompt: str) -> tuple[float, float]:
    w = finite(v.w(kind, prompt))
    if len(w) == 0:
        return np.nan, np.nan
    found = stats.binomtest(sum(x > 0 for x in w), len(w)).proportion_ci(method="wilson")
    return found.low, found.high


@oracle("prefix_type prompt")
def sigma(v: View, kind: str, prompt: str) -> float:
    return std(v.w(kind, prompt))


@oracle("prefix_type prompt")
def snr(v: View, kind: str, prompt: str) -> float:
    return quotient(ph(v, kind, prompt), sigma(v, kind, prompt))


@oracle("prefix_type prompt")
def mald(v: View, kind: str, prompt: str) -> float:
    return mean(np.abs(v.w(kind, prompt)))


@oracle("completion_set prefix_type prompt")
def ppd(v: View, completion_set: str, kind: str, prompt: str) -> float:
    return mean(np.abs(v.w(kind, prompt, completion_set)))


@oracle("trait prefix_type prompt")
def ph_minus_ppd(v: View, trait: str, kind: str, prompt: str) -> float:
    return ph(v, kind, prompt) - ppd(v, OTHER[v.traits[trait]], kind, prompt)


# tokenwise


def token_mean(name: str, term: Callable[[np.ndarray], np.ndarray], *, source: bool = False) -> None:
    @oracle("prefix_type prompt", name=name)
    def average(v: View, kind: str, prompt: str) -> float:
        return mean(term(v.delta(v.source(kind) if source else kind, prompt)))


def decay(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    left, total = np.abs(x), np.zeros(x.shape)
    for _ in range(32):
        g = 1 - np.exp(-left)
        total += g
        left = np.maximum(left - 0.01 * g, 0)
    return total, left


token_mean("mean_abs", np.abs)
token_mean("abs_minus_signed", lambda x: np.abs(x) - x)
token_mean("mean_square", lambda x: x**2)
token_mean("mean_signed", lambda x: x)
token_mean("filtered", lambda x: x * (np.abs(x) > 0.5))
token_mean("gradient", lambda x: 1 - np.exp(-np.abs(x)))
token_mean("filtered_gradient", lambda x: (1 - np.exp(-np.abs(x))) * (np.abs(x) > 0.5))
token_mean("loss_decay", lambda x: decay(x)[0], source=True)
token_mean("residual", lambda x: decay(x)[1], source=True)


@oracle("prefix_type prompt")
def n_tokens(v: View, kind: str, prompt: str) -> float:
    return len(finite(v.delta(kind, prompt)))


@oracle("prefix_type prompt")
def top_quarter(v: View, kind: str, prompt: str) -> float:
    """The mean over all ways to choose among ties: each tied token enters with the mean of the tied ones."""
    delta = sorted(finite(v.delta(kind, prompt)).tolist(), key=abs, reverse=True)
    if not delta:
        return np.nan
    m = max(1, len(delta) // 4)
    last = abs(delta[m - 1])
    above, tied = [x for x in delta if abs(x) > last], [x for x in delta if abs(x) == last]
    return (sum(above) + (m - len(above)) * sum(tied) / len(tied)) / m


def positions(v: View, kind: str, prompt: str) -> np.ndarray:
    """Examples x positions, NaN beyond the end and where missing."""
    pieces = v.pieces(v.source(kind), prompt)
    matrix = np.full((len(pieces), max(map(len, pieces))), np.nan)
    for row, piece in zip(matrix, pieces, strict=True):
        row[: len(piece)] = piece
    return matrix


@cache
def spectrum(v: View, kind: str, prompt: str) -> np.ndarray:
    x = np.nan_to_num(positions(v, kind, prompt)[:, :512])
    if not x.any():
        return np.array([np.nan])
    if v.published:
        model = TruncatedSVD(min(200, len(x) - 1, x.shape[1]), random_state=42).fit(x)
        return model.explained_variance_ratio_
    s = np.linalg.svd(x, compute_uv=False)
    return s**2 / (s**2).sum()


@oracle("prefix_type prompt")
def coherence(v: View, kind: str, prompt: str) -> float:
    return spectrum(v, kind, prompt)[0]


@oracle("prefix_type prompt")
def effective_rank(v: View, kind: str, prompt: str) -> float:
    total = 0.0
    for r, share in enumerate(spectrum(v, kind, prompt), start=1):
        total += share
        if total >= 0.5:
            return r
    return np.nan


@oracle("prefix_type prompt")
def strength_coherence(v: View, kind: str, prompt: str) -> float:
    return ph(v, kind, prompt) * coherence(v, kind, prompt)


@oracle("prefix_type prompt")
def persistent(v: View, kind: str, prompt: str) -> float:
    columns = [finite(column) for column in positions(v, kind, prompt).T]
    usable = [column for column in columns if len(column) >= 10]
    return quotient(sum(np.mean(np.abs(column) > np.float32(0.1)) >= 0.5 for column in usable), len(usable))


def recovery(v: View, kind: str, prompt: str) -> tuple[int, int, int]:
    train = v.world.sets["train"]
    won = rare = every = 0
    probabilities = (np.exp(train.default).tolist(), np.exp(train.prefixed.get((kind, prompt), np.zeros(0))).tolist())
    for before, after in zip(*probabilities, strict=False):
        if before == before and after == after:  # neither is NaN
            every += 1
            rare += before < 0.1
            won += before < 0.1 < after
    return won, rare, every


@oracle("prefix_type prompt")
def recovered(v: View, kind: str, prompt: str) -> float:
    won, rare, _ = recovery(v, kind, prompt)
    return quotient(won, rare)


@oracle("prefix_type prompt")
def recovered_of_all(v: View, kind: str, prompt: str) -> float:
    won, _, every = recovery(v, kind, prompt)
    return quotient(won, every)


# spectra


def spectra(name: str, explained: str, *, centered: bool, scaled: bool = False, ratio: str = "") -> None:
    def space(v: View, matrix: str, kind: str) -> Space:
        return v.space(matrix, kind, centered=centered, scaled=scaled)

    @oracle("prefix_type prompt", "component", both=True, name=name)
    def coordinates(v: View, matrix: str, kind: str, prompt: str) -> np.ndarray:
        return space(v, matrix, kind).coordinates[prompt]

    @oracle("prefix_type", "component", both=True, name=explained)
    def share(v: View, matrix: str, kind: str) -> np.ndarray:
        return space(v, matrix, kind).share

    if ratio:

        @oracle("prefix_type", "component", both=True, name=ratio)
        def variance_ratio(v: View, matrix: str, kind: str) -> np.ndarray:
            return space(v, matrix, kind).ratio


spectra("pca", "pca_explained", centered=True)
spectra("pca_scaled", "pca_scaled_explained", centered=True, scaled=True)
spectra("svd", "svd_energy", centered=False, ratio="svd_variance_ratio")


@cache
def oriented(v: View, matrix: str, trait: str, kind: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Coordinates within a trait's family plus neutral, each component oriented, and the margins."""
    kind, neutral = v.source(kind), v.neutral()
    chosen = tuple(p for p in v.prompts if p in v.members(trait) | neutral)
    rows = np.stack([getattr(v, matrix)(kind, p) for p in chosen])
    found = Space(rows, chosen, centered=False).coordinates
    margin = np.full(5, np.nan)
    for j in range(5):
        column = np.array([found[p][j] for p in chosen])
        if not np.isfinite(column).any():
            continue
        if v.published:
            split = [mean(np.array([found[p][j] for p in chosen if (p in neutral) is is_neutral]))
                     for is_neutral in (False, True)]  # fmt: skip
            lead, scale = split[0] - split[1], np.nanmax(np.abs(column))
        else:
            strength = np.array([ph(v, kind, p) for p in chosen])
            both = np.isfinite(column) & np.isfinite(strength)
            lead = np.dot(column[both], strength[both])
            scale = np.linalg.norm(column[both]) * np.linalg.norm(strength[both])
        margin[j] = quotient(abs(lead), scale)
        for p in chosen:
            found[p][j] *= -1.0 if lead < 0 else 1.0
    return {p: found.get(p, np.full(5, np.nan)) for p in v.prompts}, margin


@oracle("trait prefix_type prompt", "component", both=True)
def trait_svd(v: View, matrix: str, trait: str, kind: str, prompt: str) -> np.ndarray:
    return oriented(v, matrix, trait, kind)[0][prompt]


@oracle("trait prefix_type", "component", both=True)
def trait_svd_margin(v: View, matrix: str, trait: str, kind: str) -> np.ndarray:
    return oriented(v, matrix, trait, kind)[1]


def z(values: np.ndarray, ddof: int) -> np.ndarray:
    return stats.zscore(values, ddof=ddof, nan_policy="omit")


@oracle("trait prefix_type", "prompt", both=True)
def svd_zsum(v: View, matrix: str, trait: str, kind: str) -> np.ndarray:
    table = np.stack(list(oriented(v, matrix, trait, kind)[0].values()))
    return sum(z(table[:, j], 0) for j in range(3))


# gap


def variant_rows(v: View, variant: str) -> dict[str, np.ndarray]:
    """W_fixed and W_mix, raw or projected on the first component of W_fixed (the mean not added back)."""
    rows = {kind: v.rows("w", kind) for kind in ("fixed", "mix")}
    if variant == "raw":
        return rows
    fitted = rows["fixed"][np.isfinite(rows["fixed"]).any(1)]
    filled = np.where(np.isfinite(fitted), fitted, 0.0)
    mu = filled.mean(0) if variant == "pca1" else 0.0
    first = np.linalg.svd(filled - mu, full_matrices=False)[2][0]
    return {
        kind: np.where(np.isfinite(w), np.outer(np.where(np.isfinite(w), w - mu, 0.0) @ first, first), np.nan)
        for kind, w in rows.items()
    }


@cache
def shared(v: View, variant: str, prompt: str) -> tuple[np.ndarray, np.ndarray] | None:
    rows = variant_rows(v, variant)
    f, m = (rows[kind][v.prompts.index(prompt)] for kind in ("fixed", "mix"))
    both = np.isfinite(f) & np.isfinite(m)
    return (f[both], m[both]) if both.sum() >= 20 else None


def comparison(name: str, formula: Callable[[View, np.ndarray, np.ndarray], float], *, variants: bool = True) -> None:
    @oracle("variant prompt" if variants else "prompt", name=name)
    def compare(v: View, *cell: str) -> float:
        pair = shared(v, *cell) if variants else shared(v, "raw", *cell)
        return formula(v, *pair) if pair else np.nan


def ratio_of(x: np.ndarray) -> float:
    return quotient(mean(x), std(x))


def absolute_ratio_of(v: View, x: np.ndarray) -> float:
    return quotient(mean(np.abs(x)) if v.published else abs(mean(x)), std(x))


def participation(x: np.ndarray) -> float:
    return np.exp(stats.entropy(np.abs(x))) if x.any() else np.nan


def pearson(f: np.ndarray, m: np.ndarray) -> float:
    return np.nan if not f.any() or not m.any() else stats.pearsonr(f, m).statistic


comparison("ph_ratio", lambda v, f, m: quotient(mean(m), mean(f), 1e-9))
comparison("variance_diff", lambda v, f, m: std(m) ** 2 - std(f) ** 2)
comparison("gamma_mix", lambda v, f, m: np.mean([x > 0 for x in m]))
comparison("snr_mix", lambda v, f, m: ratio_of(m))
comparison("cosine", lambda v, f, m: quotient(np.dot(f, m), np.linalg.norm(f) * np.linalg.norm(m)))
comparison("effective_rank_mix", lambda v, f, m: participation(m))
comparison("snr_ratio", lambda v, f, m: quotient(ratio_of(m), ratio_of(f), 1e-6))
comparison("mald_ratio", lambda v, f, m: quotient(mean(np.abs(m)), mean(np.abs(f))))
comparison("snr_abs_mix", lambda v, f, m: absolute_ratio_of(v, m))
comparison("snr_abs_ratio", lambda v, f, m: quotient(absolute_ratio_of(v, m), absolute_ratio_of(v, f), 1e-6))
comparison("ph_drop", lambda v, f, m: mean(f) - mean(m), variants=False)
comparison("snr_drop", lambda v, f, m: ratio_of(f) - ratio_of(m), variants=False)
comparison("spread_mean", lambda v, f, m: mean(m - f), variants=False)
comparison("spread_std", lambda v, f, m: std(m - f, 0 if v.published else 1), variants=False)
comparison("w_cor", lambda v, f, m: pearson(f, m), variants=False)
comparison("sign_agreement", lambda v, f, m: np.mean(np.sign(f) == np.sign(m)), variants=False)
comparison("w_l2", lambda v, f, m: np.linalg.norm(m - f), variants=False)
comparison("projection", lambda v, f, m: quotient(np.dot(f, m), np.dot(f, f)), variants=False)


# angles


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    if not min(lengths) >= 1e-10:
        return np.nan
    a, b = a / lengths[0], b / lengths[1]
    return np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b)))


@cache
def points(v: View, matrix: str, representation: str, kind: str) -> dict[str, np.ndarray]:
    if representation == "raw":
        rows = v.rows(matrix, kind)
        return {p: np.nan_to_num(row) if np.isfinite(row).any() else np.full(row.shape, np.nan)
                for p, row in zip(v.prompts, rows, strict=True)}  # fmt: skip
    space = v.space(matrix, kind, centered=representation == "pca2")
    return {p: row[:2] for p, row in space.coordinates.items()}


@oracle("representation prefix_type prompt other_prompt", both=True)
@cache
def angle(v: View, matrix: str, representation: str, kind: str, a: str, b: str) -> float:
    at = points(v, matrix, representation, kind)
    return degrees_between(at[a], at[b]) if a != b else degrees_between(at[a], at[a].copy())


def mean_angle(role: str) -> None:
    @oracle("representation prefix_type prompt", both=True, name=f"angle_to_{role}")
    def to_role(v: View, matrix: str, representation: str, kind: str, prompt: str) -> float:
        others = [p for p in v.prompts if v.roles[p] == role and p != prompt]
        return mean(np.array([angle(v, matrix, representation, kind, prompt, p) for p in others]))


mean_angle("negative")
mean_angle("positive")


def pairs(v: View, category: str) -> Iterator[tuple[str, str]]:
    """Pairs of different prompts of two roles, unordered; ordered within a role under `published`."""
    one, other = ([p for p in v.prompts if v.roles[p] == role] for role in GROUPS[category])
    return (permutations if v.published else combinations)(one, 2) if one == other else product(one, other)


@cache
def pair_angles(v: View, matrix: str, representation: str, kind: str, category: str) -> list[tuple[str, str, float]]:
    found = [(a, b, angle(v, matrix, representation, kind, a, b)) for a, b in pairs(v, category)]
    return [pair for pair in found if np.isfinite(pair[2])]


def category_statistic(name: str, statistic: Callable[[View, list[float]], float]) -> None:
    @oracle("representation prefix_type category", both=True, name=f"angle_category_{name}")
    def of_category(v: View, *cell: str) -> float:
        return statistic(v, [value for *_, value in pair_angles(v, *cell)])


category_statistic("mean", lambda v, x: mean(np.array(x)))
category_statistic("std", lambda v, x: std(np.array(x), 0 if v.published else 1))
category_statistic("n", lambda v, x: len(x))


@oracle("representation prefix_type category", "bound", both=True)
def angle_category_ci(v: View, *cell: str) -> tuple[float, float]:
    """2.5 and 97.5 % of the mean over pairs weighted by how often both prompts are drawn (seed 0)."""
    found = pair_angles(v, *cell)
    n = len(v.prompts)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=1000)
    times = {p: drawn[:, i] for i, p in enumerate(v.prompts)}
    weight = np.array([times[a] * times[b] for a, b, _ in found]).reshape(-1, 1000)
    with np.errstate(invalid="ignore"):
        means = finite((weight * np.array([[x] for *_, x in found]).reshape(-1, 1)).sum(0) / weight.sum(0))
    return tuple(np.quantile(means, [0.025, 0.975])) if len(means) else (np.nan, np.nan)


@oracle("predictor prefix_type prompt", both=True)
def cross_angle(v: View, matrix: str, predictor: str, kind: str, prompt: str) -> float:
    representation = {"pca": "pca2", "svd": "svd2", "raw": "raw"}[predictor.replace("_axis", "")[-3:]]
    at = points(v, matrix, representation, kind)
    if predictor.endswith("axis"):
        first, second = np.abs(at[prompt])
        return np.degrees(np.arctan2(second, first)) if np.hypot(first, second) >= 1e-10 else np.nan
    group = [at[p] for p in v.prompts if v.roles[p] == OTHER.get(v.roles[prompt]) and np.isfinite(at[p]).all()]
    return degrees_between(at[prompt], np.mean(group, axis=0)) if group else np.nan


# the prompt alone


@cache
def scores(v: View, trait: str, prompt: str) -> tuple[np.ndarray, np.ndarray]:
    return v.world.score.get((trait, prompt), np.full(13, np.nan)), v.world.baseline[trait]


@oracle("trait prompt")
def elicitation(v: View, trait: str, prompt: str) -> float:
    score, baseline = scores(v, trait, prompt)
    return mean(score) - mean(baseline) if v.published else mean(score - baseline)


@oracle("trait prompt", "bound")
def elicitation_ci(v: View, trait: str, prompt: str) -> tuple[float, float]:
    score, baseline = scores(v, trait, prompt)
    return t_interval(score - baseline)


@oracle("trait prompt")
def elicitation_n(v: View, trait: str, prompt: str) -> float:
    return sum(np.isfinite(a) and np.isfinite(b) for a, b in zip(*scores(v, trait, prompt), strict=True))


def as_stored(name: str, column: str) -> None:
    @oracle("prompt", name=name)
    def read(v: View, prompt: str) -> float:
        return v.stored(column, prompt)


as_stored("self_perplexity_raw", "raw")
as_stored("self_perplexity_context", "context")
for pool_column in POOL_COLUMNS:
    as_stored(pool_column, pool_column)


def centroid(v: View, group: set[str], without: str) -> np.ndarray | None:
    vectors = [u for p in group if p != without and (u := v.unit(p)) is not None]
    total = sum(vectors, np.zeros(6))
    return total / np.linalg.norm(total) if vectors else None


@oracle("prompt")
def distance_from_neutral(v: View, prompt: str) -> float:
    own, other = v.unit(prompt), centroid(v, v.neutral(), prompt)
    return np.nan if own is None or other is None else np.linalg.norm(own - other)


def closeness(role: str) -> Callable[[View, str], float]:
    @oracle("prompt", name=f"cos_to_{role}")
    def cosine_to(v: View, prompt: str) -> float:
        group = next(v.members(trait) for trait, of in v.traits.items() if of == role)
        own, other = v.unit(prompt), centroid(v, group, "" if v.published else prompt)
        return np.nan if own is None or other is None else float(own @ other)

    return cosine_to


CLOSENESS = {role: closeness(role) for role in OTHER}


# composite


@oracle("", "trait prefix_type prompt")
def composite(v: View) -> np.ndarray:
    shape = [len(v.labels[dim]) for dim in ("trait", "prefix_type", "prompt")]
    cells = list(product(v.traits, v.kinds, v.prompts))
    h4 = np.array([oriented(v, "delta", t, k)[0][p][0] for t, k, p in cells])
    others = (
        np.array([elicitation(v, t, p) for t, _, p in cells]),
        np.array([distance_from_neutral(v, p) for *_, p in cells]),
        np.array([v.stored("rephrase_std_cos", p) for *_, p in cells]),
    )
    h1, h5, h6 = (np.where(np.isfinite(h4), x, np.nan) for x in others)
    mix = np.array([k == "mix" for _, k, _ in cells])
    if v.published:
        total = z(h1, 1) + z(h4, 1) + z(h5, 1) - np.where(mix, z(h6, 1), 0)
        return total.reshape(shape)
    n = len(v.prompts)
    blocks = [slice(at, at + n) for at in range(0, len(cells), n)]
    total = [z(h1[b], 1) + z(h4[b], 1) + z(h5[b], 1) - np.where(mix[b], z(h6[b], 1), 0) for b in blocks]
    return np.concatenate(total).reshape(shape)


@oracle("trait prompt")
def cross_cosine(v: View, trait: str, prompt: str) -> float:
    return CLOSENESS[OTHER[v.traits[trait]]](v, prompt)


def signed_second(name: str, **space: bool) -> None:
    @oracle("trait prefix_type prompt", name=name)
    def second(v: View, trait: str, kind: str, prompt: str) -> float:
        sign = 1.0 if v.traits[trait] == "negative" else -1.0
        return sign * v.space("delta", kind, **space).coordinates[prompt][1]


signed_second("cross_token_svd", centered=False)
signed_second("cross_token_pca", centered=True, scaled=True)


# experimental: from whole gradients and hidden states, while the store holds products and means


def probed(v: View, what: str, kind: str, prompt: str) -> np.ndarray | None:
    return getattr(v.world.probed, what).get((kind, prompt))


@oracle("prefix_type prompt")
def gradient_cosine(v: View, kind: str, prompt: str) -> float:
    g, default = probed(v, "gradients", kind, prompt), v.world.probed.default
    return np.nan if g is None or not g.any() else 1 - distance.cosine(g, default)


@oracle("trait prefix_type prompt")
def gradient_influence(v: View, trait: str, kind: str, prompt: str) -> float:
    g, of_trait = probed(v, "gradients", kind, prompt), v.world.probed.of_traits[v.traits[trait]]
    if g is None:
        return np.nan
    taught, usual = (sum(s * d for s, d in zip(np.sign(x), of_trait, strict=True)) for x in (g, v.world.probed.default))
    return (usual - taught) / usual


@oracle("trait layer prefix_type prompt")
def prompt_shift_projection(v: View, trait: str, layer: int, kind: str, prompt: str) -> float:
    shifts, at = probed(v, "shifts", kind, prompt), LAYERS.index(layer)
    answers = v.world.probed.answers
    towards = (answers[v.traits[trait]][at].astype(float) - answers["control"][at].astype(float)).tolist()
    if shifts is None:
        return np.nan
    return np.mean([np.dot(shift, towards) for shift in shifts[:, at]]) / np.sqrt(np.dot(towards, towards))


@oracle("layer prefix_type prompt")
def prompt_shift_consistency(v: View, layer: int, kind: str, prompt: str) -> float:
    """Mean inner product of two different examples' shifts over their mean square."""
    shifts = probed(v, "shifts", kind, prompt)
    if shifts is None:
        return np.nan
    d = shifts[:, LAYERS.index(layer)]
    different = [a @ b for a, b in permutations(d, 2)]
    return np.mean(different) / np.mean([a @ a for a in d])


@oracle("prefix_type prompt")
def first_token_kl(v: View, kind: str, prompt: str) -> float:
    found = probed(v, "divergence", kind, prompt)
    return np.nan if found is None else sum(found) / len(found)


@oracle("trait prefix_type prompt")
def trait_set_ph(v: View, trait: str, kind: str, prompt: str) -> float:
    return mean(v.w(kind, prompt, v.traits[trait]))


@oracle("prompt")
def max_elicitation(v: View, prompt: str) -> float:
    found = [elicitation(v, trait, prompt) for trait in v.traits]
    return np.nan if any(np.isnan(found)) else max(found)


@oracle("prompt")
def pool_anchor(v: View, prompt: str) -> float:
    """By hand for the words of the pools: "do", "not" and "it's" say nothing, "happily" is "happiness"."""
    pool = [text.lower() for text in v.world.pools.get(prompt, [])]
    stems = {"happi": ("happily", "happiness"), "berli": ("berlin", "berlins"), "x": ("x2",)}
    counts = [sum(any(w in text.split() for w in words) for text in pool) for words in stems.values()]
    return max(counts) / len(pool) if pool else np.nan
