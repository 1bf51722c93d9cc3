"""The reference page, written from the registry: `python docs/make/heuristics.py > docs/heuristics.md`."""

import sys
from collections.abc import Iterable

from inoc.heuristics.frame.declarations import FAMILIES, Heuristic
from inoc.heuristics.frame.inputs import Inputs
from inoc.heuristics.frame.registry import own

IN_INIT = {
    "recipe": "corrected or published.",
    "prompts": "Keys of the prompts asked for, in the order of the experiment.",
    "prefix_types": "fixed, mix, as stored.",
    "traits": "Name, role and family of the traits.",
    "completion_set": "The set whose differences are computed.",
    "left_out": "Prompts that are stored at example level only while others have tokens.",
}
HEAD = """# Heuristics

<!-- Written by `make docs`; edit the modules of inoc/heuristics instead. -->

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
- **Relative to the prompts.** Spectra, angles, centroids and z-scores are relative to the prompts asked for
  (`--prompts`).
- **n matters.** `coherence`, `persistent` and `effective_rank` depend on the number of examples: compare them only at
  equal `n_examples`. Variables named `token_*` are of all tokens, the same without the prefix of examples.
- **Traits.** With a dim `trait` a value is for rows whose trait of interest is that one; prompts of another family
  are NaN in `trait_svd`.
- **Variants.** Dim `variant` of the gap: `raw` rows, or both rows after a rank-1 reconstruction fitted on the fixed
  rows (`pca1`: centered, the mean not added back; `svd1`: uncentered). In flat tables the raw one has the bare name:
  `ph_ratio`, `ph_ratio[pca1]`. Comparisons without that dim exist for the raw rows only.
- **Absent.** What a store cannot give is not a variable; the attr `absent` says why.

## Your own

A heuristic is one decorated function in one file. Its parameters name what it needs: inputs (below), values shared
through `@intermediate`, or other heuristics. All decorators are in `inoc.heuristics`.

| to declare | write | its parameters |
|---|---|---|
| anything else | `@heuristic(...)` | inputs, intermediates, heuristics |
| a mean over tokens | `@token_mean(...)` on the value of one token, with operators and `xp` | `delta`, `xp`, parts |
| a number of one whole row of tokens | `@token_row(...)` | `delta`, `layout`, `row_size`, `recipe`, parts |
| what several of them share | `@intermediate()`; `@part` for token and row terms | the same |
| a dim with labels of its own | `dimension(name, labels)` | |

Means over tokens run inside the one pass, in NumPy and in JAX; a difference of 0 must give 0. Rows are read once for
all row terms. For anything else about tokens ask for `token_rows`, a stream of rows (`prefix_type`, `prompt`, `delta`
[token], `layout` with `row_size`, `position`, `example`, `token_ids`); for facts about fine-tunings ask for `runs`.
Declare before use. An unknown parameter, part or dim, a dim named twice, or a name that is taken fails when the
module is imported; a package that fails costs one warning and nothing else. Name the module under the entry point
group `inoc.heuristics`:

```toml
[project.entry-points."inoc.heuristics"]
mine = "my_package.my_heuristics"
```

"""


def page(entries: Iterable[Heuristic]) -> str:
    """The Markdown page of the given heuristics, by family."""
    entries = list(entries)
    parts = [HEAD + inputs()]
    for family, title in FAMILIES.items():
        lines = [_row(v) for entry in entries if entry.family == family for v in entry.variables()]
        head = "| name | symbol | what | formula | units | dims |\n|---|---|---|---|---|---|"
        parts.append("\n".join([f"## {title}\n", head, *lines, ""]))
    return "\n".join(parts)


def inputs() -> str:
    """The table of inputs, and of the fields of `statistics`."""
    rows = [(name, (getattr(Inputs, name, None).__doc__ or "").partition("\n")[0]) for name in Inputs.names()]
    lines = [f"| `{name}` | {IN_INIT.get(name, what)} |" for name, what in sorted(rows)]
    fields = ", ".join(f"`statistics.{name}`" for name in Inputs.fields("statistics"))
    return "\n".join(["| input | what |\n|---|---|", *lines, "", f"Fields: {fields}.", ""])


def _row(entry: Heuristic) -> str:
    what = entry.long_name + (f"; {entry.sign}" if entry.sign else "")
    formula = entry.formula + (f" ({entry.source})" if entry.source else "")
    cells = (f"`{entry.name}`", entry.symbol, what, formula, entry.units, ", ".join(entry.dims))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(page(own()))
