"""The published analysis as its plain script, in other words: JSON in, one prompt after the other, scikit-learn for
every spectrum, `published` formulas throughout. Nothing is shared with inoc.

    python benchmarks/plain_script.py logprobs.json
"""

import json
import sys

import numpy as np
from sklearn.decomposition import PCA, TruncatedSVD


def token_numbers(delta: np.ndarray) -> list[float]:
    """HA1 to HA5 of a prompt, over all its tokens."""
    size = np.abs(delta)
    strong = size > 0.5
    order = np.argsort(size)[::-1]
    return [
        size.mean(),
        (delta**2).mean(),
        delta.mean(),
        (delta * strong).mean(),
        delta[order[: max(1, len(delta) // 4)]].mean(),
        (1 - np.exp(-size)).mean(),
        ((1 - np.exp(-size)) * strong).mean(),
    ]


def matrix_numbers(deltas: list[np.ndarray]) -> list[float]:
    """HB1 to HB6 of a prompt, from a row for each example."""
    width = max(map(len, deltas))
    matrix = np.full((len(deltas), width), np.nan)
    for row, delta in zip(matrix, deltas, strict=True):
        row[: len(delta)] = delta
    size = np.abs(matrix[np.isfinite(matrix)])
    left, total = size, np.zeros_like(size)
    for _ in range(32):
        gradient = 1 - np.exp(-left)
        total = total + gradient
        left = np.maximum(left - 0.01 * gradient, 0)
    reached = np.isfinite(matrix).sum(0)
    usable = reached >= 10
    moved = (np.abs(np.nan_to_num(matrix)) > 0.1).sum(0)
    short = np.nan_to_num(matrix[:, :512])
    components = min(200, len(short) - 1, short.shape[1])
    share = TruncatedSVD(components, random_state=42).fit(short).explained_variance_ratio_
    persistent = (moved[usable] >= 0.5 * reached[usable]).mean() if usable.any() else 0.0
    return [share[0], total.mean(), persistent, np.argmax(share.cumsum() >= 0.5) + 1, left.mean()]


def main() -> None:
    with open(sys.argv[1]) as file:
        data = json.load(file)
    base = [np.array(values) for values in data["baseline"]["lp_train_default_tokens"]]
    table: dict[str, list[float]] = {}
    for kind in ("inoc", "mix"):
        means, tokens = [], []
        for key, entry in data["prompts"].items():
            deltas = [
                np.array(values) - before for values, before in zip(entry[f"lp_train_{kind}_tokens"], base, strict=True)
            ]
            w = np.array([delta.mean() for delta in deltas])
            means.append(w)
            tokens.append(np.concatenate(deltas))
            table[f"{key}/{kind}"] = [
                w.mean(), (w > 0).mean(), w.std(ddof=1), w.mean() / w.std(ddof=1), np.abs(w).mean(),
                *token_numbers(tokens[-1]), *(matrix_numbers(deltas) if kind == "inoc" else []),
            ]  # fmt: skip
        for rows in (np.array(means), np.array(tokens)):
            PCA(5, random_state=42).fit_transform(rows)
            TruncatedSVD(5, random_state=42).fit_transform(rows)
    for key, row in table.items():
        sys.stdout.write(" ".join([key, *(f"{value:.4f}" for value in row)]) + "\n")


if __name__ == "__main__":
    main()
