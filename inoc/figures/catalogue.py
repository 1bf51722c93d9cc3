"""Every figure `inoc figures` makes: its name, its family, what it shows; drawing and writing them."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from inoc.errors import BadInput, IncompleteStore, InocError
from inoc.figures import house, layouts
from inoc.figures.gap_grid import plot_gap_grid
from inoc.figures.layouts import SCATTERED, Source
from inoc.figures.loadings import plot_loadings, plot_token_loadings
from inoc.figures.recovered import plot_recovered
from inoc.store.store import Store

Draw = Callable[[Source], Figure]


@dataclass(frozen=True)
class Entry:
    """One figure: `name` is the file name, `about` the sentence of the gallery."""

    name: str
    family: str
    about: str
    draw: Draw


@dataclass(frozen=True)
class Made:
    """What became of one figure: its files, or why there is none; `failed`: by an error, not by what is stored."""

    name: str
    files: tuple[Path, ...]
    caption: str
    reason: str
    failed: bool = False


CATALOGUE: tuple[Entry, ...] = (
    Entry("training_curves", "curves", "How each trait grows during training, without and with the prompt.",
          lambda s: layouts.curves(s, False)),
    Entry("training_curves_log", "curves", "The same by logarithmic step, where the first updates can be seen.",
          lambda s: layouts.curves(s, True)),
    Entry("losses", "curves", "Training losses, and how far they lie from the control's.",
          layouts.losses),
    Entry("final_scores", "outcomes", "What every run shows in the end without any prompt.",
          lambda s: layouts.bars(s, "score")),
    Entry("suppression", "outcomes", "How much each prompt kept each trait quiet, with paired 95 % intervals.",
          lambda s: layouts.bars(s, "suppression")),
    Entry("durability", "outcomes", "What further training leaves of a suppression, and how the trait comes back.",
          layouts.durable),
    Entry("elicitation", "elicitation", "How far each prompt alone brings out each trait.", layouts.elicitation),
    Entry("scatter_suppression", "scatter", "Heuristics of the base model against suppression.",
          lambda s: layouts.scatter(s, "suppression")),
    Entry("scatter_cross", "scatter", "The same heuristics against the suppression of the other trait.",
          lambda s: layouts.scatter(s, "cross")),
    Entry("spectrum_pca", "spectra", "Prompts in component space by role, ph and suppression.",
          lambda s: layouts.spectrum(s, "pca", False)),
    Entry("spectrum_svd", "spectra", "The same, uncentred.", lambda s: layouts.spectrum(s, "svd", False)),
    Entry("spectrum_pca_tokens", "spectra", "Principal components of the token differences.",
          lambda s: layouts.spectrum(s, "pca", True)),
    Entry("loadings", "spectra", "Which training examples carry the components.",
          lambda s: layouts.by_type(s, plot_loadings, heuristics=s.heuristics)),
    Entry("loadings_tokens", "spectra", "How few tokens carry the components.",
          lambda s: layouts.by_type(s, plot_token_loadings, heuristics=s.heuristics)),
    Entry("angle_heatmap_fixed", "angles", "The angle of every pair of prompts, sorted by role.",
          lambda s: layouts.heatmap(s, "fixed", False)),
    Entry("angle_heatmap_mix", "angles", "The same with a rewording per example.",
          lambda s: layouts.heatmap(s, "mix", False)),
    Entry("angle_heatmap_tokens", "angles", "The same from token differences.",
          lambda s: layouts.heatmap(s, "fixed", True)),
    Entry("angle_categories", "angles", "Mean angle within and between roles, with prompt-bootstrap intervals.",
          lambda s: layouts.categories(s, False)),
    Entry("angle_categories_tokens", "angles", "The same from token differences.",
          lambda s: layouts.categories(s, True)),
    Entry("angle_map", "angles", "Each prompt by its mean angle to the negative and to the positive prompts.",
          lambda s: layouts.angle_map(s, False)),
    Entry("angle_map_tokens", "angles", "The same from token differences.", lambda s: layouts.angle_map(s, True)),
    Entry("component_suppression", "angles", "Q1: do the components tell the suppression of the traits?",
          lambda s: layouts.components(s, False)),
    Entry("component_suppression_tokens", "angles", "Q1 from token differences.",
          lambda s: layouts.components(s, True)),
    Entry("cross_angle", "angles", "Q2: do angles tell the other trait's suppression?",
          lambda s: layouts.cross_angles(s, False)),
    Entry("cross_angle_tokens", "angles", "Q2 from token differences.", lambda s: layouts.cross_angles(s, True)),
    Entry("gap_grid", "gap", "Which comparison of fixed and mix goes with the gap between them.",
          lambda s: layouts.figure_of(plot_gap_grid(s.store, heuristics=s.heuristics, table=s.rows))),
    Entry("performance_forest", "performance", "Every heuristic's correlation with what training did.",
          layouts.forest),
    Entry("token_differences", "tokens", "How token differences are distributed, prompt by prompt.",
          layouts.differences),
    Entry("recovered", "tokens", "Of the tokens the model found unlikely, the share the prompt makes likely.",
          lambda s: layouts.figure_of(plot_recovered(s.store))),
    Entry("position_means", "tokens", "Where in the completion a prompt does its work.", layouts.positions),
    Entry("misalignment", "misalignment", "Emergent misalignment by run, with Wilson intervals.",
          layouts.misaligned),
    Entry("leak_grid", "leaks", "What every run shows under every prompt at evaluation.", layouts.leaks),
)  # fmt: skip
FAMILIES = tuple(dict.fromkeys(entry.family for entry in CATALOGUE))
FORMATS = ("png", "svg", "pdf")


def select(only: Sequence[str]) -> tuple[Entry, ...]:
    """The figures of the named families or names; all when none is named. BadInput for an unknown one."""
    for name in only:
        if name not in FAMILIES and all(name != entry.name for entry in CATALOGUE):
            raise BadInput(f"no figure or family '{name}': families are {', '.join(FAMILIES)}.")
    return tuple(e for e in CATALOGUE if not only or e.name in only or e.family in only)


def make(
    store: Store,
    out: Path,
    *,
    only: Sequence[str] = (),
    formats: Sequence[str] = ("png",),
    scattered: Sequence[str] = SCATTERED,
) -> Iterator[Made]:
    """Draw the chosen figures into `out`, one after the other: NAME.FORMAT and NAME.txt with the caption.

    A figure the store does not allow yields its reason and no file; so does one that fails, and the rest is drawn.

    Raises:
        BadInput: an unknown figure, family, format or heuristic; or `out` cannot be written.
    """
    from inoc.outcomes.tidy import full_names

    entries = select(only)
    for name in formats:
        if name not in FORMATS:
            raise BadInput(f"no format '{name}': it is {', '.join(FORMATS)}.")
    source = Source(store, full_names(scattered))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"{out} cannot be written ({error.strerror}); choose another place with --out."
        ) from error
    for entry in entries:
        before = set(plt.get_fignums())
        try:
            figure = entry.draw(source)
            done = Made(entry.name, save(figure, out, entry.name, formats), house.caption(figure), "")
        except IncompleteStore as error:
            done = Made(entry.name, (), "", str(error))
        except InocError:
            raise
        except Exception as error:  # one figure's fault must not cost the others
            what = " ".join(f"{type(error).__name__}: {error}".split())
            done = Made(entry.name, (), "", what, failed=True)
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
        yield done


def save(figure: Figure, out: Path, name: str, formats: Sequence[str] = ("png",)) -> tuple[Path, ...]:
    """Write a figure in the house style and its caption beside it; the same figure gives the same bytes."""
    files: list[Path] = []
    for kind in formats:
        path = out / f"{name}.{kind}"
        house.write(figure, path)
        files.append(path)
    (out / f"{name}.txt").write_text(house.caption(figure) + "\n", encoding="utf-8")
    return tuple(files)
