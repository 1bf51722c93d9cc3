"""A store for analyses: labeled xarray objects on top of a `Reader`. Opening reads one small file."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from inoc.store.reader import Reader
from inoc.store.schema import LOGPROB_GROUP
from inoc.store.tree import steadily

if TYPE_CHECKING:
    import xarray as xr


def open_store(path: str | Path) -> "Store":
    """Open a store for reading.

    Args:
        path: The store's directory.

    Returns:
        The store; nothing but its root is read yet.

    Raises:
        BadInput: Nothing is there, or it is not an inoc store.
        BrokenStore: The store is damaged or of a newer schema.

    Example:
        >>> store = inoc.open_store("study.zarr")
        >>> [trait.role for trait in store.traits]
        ['positive', 'negative']
    """
    return Store(Path(path))


def _views():
    """The labeled views; they import xarray."""
    from inoc.store import views

    return views


class Store(Reader):
    """A store, read-only. Properties are read on first use and kept."""

    def __repr__(self) -> str:
        return f"<Store {self.path} sets {', '.join(self.completion_sets) or 'none'}>"

    @steadily
    def _repr_html_(self) -> str:
        """What notebooks show: names and counts, without reading values."""
        from inoc.notebook import html_table

        rows = [("traits", ", ".join(f"{t.name} ({t.role})" for t in self.traits) or "none")]
        if self.has("prompts"):
            keys = [str(key) for key in self.prompts["prompt"].values]
            rows.append(("prompts", f"{len(keys)}: {', '.join(keys[:12])}{', ...' if len(keys) > 12 else ''}"))
        for name in self.completion_sets:
            where = f"{LOGPROB_GROUP[self.levels(name)[0]]}/{name}"
            kinds, prompts, examples = (self.labels(f"{where}/{v}") for v in ("prefix_type", "prompt", "example"))
            rows.append((f"set {name}", f"{len(prompts)} prompts x {len(examples)} examples, {', '.join(kinds)}"))
        pending = len(self.pending()) + len(self.pending_evaluations())
        rows.append(("runs", str(len(self.runs))))
        rows.append(("pending", f"{pending} units and evaluations"))
        return html_table(f"Store {self.path}", ("", ""), rows)

    @cached_property
    def tree(self) -> "xr.DataTree":
        """The whole store as plain xarray shows it (lazy); pending units are not masked here."""
        import xarray as xr

        return xr.open_datatree(  # pyright: ignore[reportUnknownMemberType]
            self.path, engine="zarr", chunks=None, consolidated=False
        )

    @cached_property
    @steadily
    def prompts(self) -> "xr.Dataset":
        """text, group, family, role by prompt key."""
        return _views().needed(self, "prompts", "prompts yet")

    @steadily
    def completions(self, completion_set: str = "train") -> "xr.Dataset":
        """The texts and tokens of a completion set; only what is stored.

        Args:
            completion_set: "train", "control", "positive", "negative" or a name of the user's.

        Returns:
            row_size(example), token_id(token), example_id, instruction, completion.

        Raises:
            IncompleteStore: The store has no completions of that set.
        """
        return _views().needed(self, f"completions/{completion_set}", f"completions of the set {completion_set!r}")

    @cached_property
    @steadily
    def elicitation(self) -> "xr.Dataset | None":
        """score(trait, prompt, instruction), baseline(trait, instruction), judge(trait); None if not measured."""
        return _views().group(self, "elicitation")

    @cached_property
    @steadily
    def scores(self) -> "xr.Dataset | None":
        """value and coverage (run, step, condition, score, question), judge(run, score), rates among the scores; None
        without runs."""
        return _views().scores(self)

    @cached_property
    @steadily
    def losses(self) -> "xr.Dataset | None":
        """loss and learning_rate (run, update); None without losses."""
        return _views().losses(self)

    @cached_property
    @steadily
    def emergence(self) -> "Mapping[str, xr.Dataset]":
        """By run: successes, trials, surprisal, neg_kl (checkpoint, prefill, text, behavior), text, question; the
        attribute `source` says where the prefills come from."""
        return {name: _views().prefill_counts(self, name) for name in self.subgroups("emergence")}

    @cached_property
    @steadily
    def self_perplexity(self) -> "xr.Dataset | None":
        """raw, context (prompt); None if not measured."""
        return _views().group(self, "self_perplexity")

    @cached_property
    @steadily
    def embeddings(self) -> "xr.Dataset | None":
        """prompt_vector(prompt, feature) and columns over the rephrasing pools; None if not made."""
        return _views().group(self, "embeddings")
