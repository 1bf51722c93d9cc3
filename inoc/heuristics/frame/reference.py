"""The reference page, written from the registry: `python -m inoc.heuristics.frame.reference > docs/heuristics.md`."""

import sys
from collections.abc import Iterable

from inoc.heuristics.frame.registry import FAMILIES, Heuristic, heuristics

HEAD = """# Heuristics

<!-- Written by `python -m inoc.heuristics.frame.reference`; edit the modules of inoc/heuristics instead. -->

Everything `inoc heuristics` prints and `inoc.heuristics.compute(store)` returns: what the base model alone says about
an inoculation prompt, before any training. `w` is the mean logprob per completion token with the prompt minus without,
one number per example; `delta` is the same difference of one token. f and m stand for the rows of the prefix types
`fixed` and `mix` of one prompt, s for a standard deviation over examples.

- **Recipe.** `corrected` is the default; where `published` differs, the formula says so.
- **Units.** nats, or nats per token for means over a completion; pp = percentage points of a judge's score.
- **Missing data** are left out of means and counted (`n_examples`, `n_tokens`, attrs `n` and `nan`, notes on stderr).
  In Gram matrices a missing difference is 0. Nothing left gives NaN.
- **Intervals** are 95 %: t over examples (`ph_ci`), Wilson (`gamma_ci`), paired t over instructions
  (`elicitation_ci`), prompt bootstrap (`angle_category_ci`; in simulations it holds the truth 89-90 % of the time
  with 5 prompts a role and 92-94 % with 16 to 30: too narrow where prompts are few). dim `bound`: lower, upper.
- **Prompts at hand.** Spectra, angles, centroids and z-scores are relative to the prompts asked for (`--prompts`).
- **n matters.** `coherence`, `persistent` and `effective_rank` depend on the number of examples: compare them only at
  equal `n_examples`. Variables named `token_*` are of all tokens, the same without the prefix of examples.
- **Traits.** With a dim `trait` a value is for rows whose trait of interest is that one; prompts of another family
  are NaN in `trait_svd`.
- **Absent.** What a store cannot give is no variable; the attr `absent` says why.

Own heuristics: write a function whose parameters are inputs (`w`, `token_gram`, `roles`, ...) or other heuristics by
name, decorate it with `inoc.heuristics.heuristic(...)`, and name its module under the entry point group
`inoc.heuristics`:

```toml
[project.entry-points."inoc.heuristics"]
mine = "my_package.my_heuristics"
```

The inputs are the public attributes of `inoc.heuristics.frame.inputs.Inputs`.
"""

TITLES = {
    "pointwise": "Pointwise: statistics over examples of w",
    "tokenwise": "Tokenwise: statistics over tokens of delta",
    "spectra": "Spectra: prompts as rows",
    "gap": "Gap between fixed and mix: over examples finite in both, at least 20",
    "angles": "Angles between prompts",
    "prompt_level": "The prompt alone",
    "composite": "Composite and cross-trait",
}


def page(entries: Iterable[Heuristic]) -> str:
    """The Markdown page of the given heuristics, by family."""
    entries = list(entries)
    parts = [HEAD]
    for family in FAMILIES:
        lines = [_row(entry) for entry in entries if entry.family == family]
        head = "| name | symbol | what | formula | units | dims |\n|---|---|---|---|---|---|"
        parts.append("\n".join([f"## {TITLES[family]}\n", head, *lines, ""]))
    return "\n".join(parts)


def _row(entry: Heuristic) -> str:
    what = entry.long_name + (f"; {entry.sign}" if entry.sign else "")
    formula = entry.formula + (f" ({entry.source})" if entry.source else "")
    cells = (f"`{entry.name}`", entry.symbol, what, formula, entry.units, ", ".join(entry.dims))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def own() -> list[Heuristic]:
    """inoc's own heuristics, without those of plugins."""
    return [entry for entry in heuristics().values() if entry.package == "inoc"]


if __name__ == "__main__":
    sys.stdout.write(page(own()))
