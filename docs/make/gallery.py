"""Makes the gallery page and its pictures: `python docs/make/gallery.py --store S --out docs/images`.

Each figure comes from the first store that allows it. Pictures are small PNGs of 256 colors.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from inoc.figures.catalog import Entry
    from inoc.figures.sources import Source

HEAD = """# Gallery

<!-- Written by `python docs/make/gallery.py` from the `@figure` lines in inoc/figures. -->

`inoc figures store.zarr --out figs/` draws all of these that the store allows, with captions, as PNG, SVG or PDF;
`--only angles` draws one family. `inoc figures A.zarr B.zarr --out figs/` draws each store in a folder of its own and
both side by side; `--preset one-column` (84 mm) or `two-column` (174 mm) makes PDF for a paper, fonts embedded.

From Python: `inoc.plot_spectrum(store)`; the numbers behind it: `inoc.figures.spectrum_data(store)`. Every function
takes `ax`.

Color is the role of a prompt (blue + positive, orange − negative, gray ○ neutral), the marker its prefix
type (circle fixed, triangle mix, square control). Intervals are 95 %."""


@click.command()
@click.option("--store", "stores", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory of the pictures.")
@click.option("--page", type=click.Path(path_type=Path), help="The page; gallery.md next to the directory by default.")
@click.option("--only", metavar="A,B", help="Draw only these figures again; the others stay as they are.")
@click.option("--dpi", default=130.0, show_default=True)
def gallery(stores: tuple[Path, ...], out: Path, page: Path | None, only: str | None, dpi: float) -> None:
    """Draw every figure and write the page that shows them."""
    import matplotlib

    matplotlib.use("Agg")
    from inoc.figures.catalog import entries
    from inoc.figures.sources import Source
    from inoc.store.store import open_store

    out.mkdir(parents=True, exist_ok=True)
    page = page or out.parent / "gallery.md"
    sources = [Source(open_store(path)) for path in stores]
    families: dict[str, list[Entry]] = {}
    for entry in entries():
        families.setdefault(entry.family, []).append(entry)
    parts = [HEAD]
    for family, members in families.items():
        parts.append(f"## {family.capitalize()}")
        for entry in members:
            kept = only and entry.name not in only.split(",") and part_of(page, entry.name)
            parts.append(kept or picture(entry, sources, out, dpi))
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    click.echo(f"{page}: {sum(p.stat().st_size for p in out.glob('*.png')) / 1e6:.2f} MB of pictures")


def part_of(page: Path, name: str) -> str:
    """What the page says of a figure; "" where it has none."""
    _, found, rest = page.read_text(encoding="utf-8").partition(f"\n`{name}`: ")
    body = re.split(r"\n\n(?=`|## )", rest)[0].rstrip()
    return f"`{name}`: {body}" if found else ""


def picture(entry: "Entry", sources: "Sequence[Source]", out: Path, dpi: float) -> str:
    """Draw one figure from the first store that allows it; its part of the page."""
    import matplotlib.pyplot as plt
    from PIL import Image

    from inoc.errors import IncompleteStore
    from inoc.figures import house

    title = f"`{entry.name}`: {entry.about}"
    for source in sources:
        try:
            figure = entry.draw(source)
        except IncompleteStore:
            plt.close("all")
            continue
        path = out / f"{entry.name}.png"
        house.write(figure, path, dpi=dpi)
        with Image.open(path) as drawn:
            small = drawn.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        about = source.store.experiment
        data = str(about.get("name") or about.get("model") or source.store.path.stem)
        caption = house.caption(figure)
        plt.close(figure)
        return f"{title}\n\n![{entry.about}]({out.name}/{path.name})\n\n<sub>{caption} Data: {data}.</sub>"
    return f"{title} (No picture: the stores given do not allow it.)"


if __name__ == "__main__":
    gallery()
