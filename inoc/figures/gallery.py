"""Makes the gallery page and its pictures: `python -m inoc.figures.gallery --store S --out docs/images`.

Each figure comes from the first store that allows it. Pictures are small PNGs of 256 colours.
"""

from pathlib import Path

import click


@click.command()
@click.option("--store", "stores", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory of the pictures.")
@click.option(
    "--page", type=click.Path(path_type=Path), help="The page; gallery.md beside the directory by default."
)
@click.option("--dpi", default=130.0, show_default=True)
def gallery(stores: tuple[Path, ...], out: Path, page: Path | None, dpi: float) -> None:
    """Draw every figure and write the page that shows them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    from inoc.errors import IncompleteStore
    from inoc.figures import house
    from inoc.figures.catalogue import CATALOGUE
    from inoc.figures.layouts import Source
    from inoc.store.store import open_store

    out.mkdir(parents=True, exist_ok=True)
    page = page or out.parent / "gallery.md"
    where = out.name
    sources = [Source(open_store(path)) for path in stores]
    lines = [
        "# Gallery",
        "",
        "<!-- Written by `python -m inoc.figures.gallery`; the sentences stand in inoc/figures/catalogue.py. -->",
        "",
        "`inoc figures --store run.zarr --out figs/` draws all of these that the store allows, with captions, as PNG,",
        "SVG or PDF; `--only angles` draws one family. From Python: `inoc.plot_spectrum(run)`; the numbers behind it:",
        "`inoc.figures.spectrum_data(run)`. Every function takes `ax`.",
        "",
        "Colour is the role of a prompt (blue + positive, orange − negative, grey ○ neutral), the marker its prefix",
        "type (circle fixed, triangle mix, square control). Intervals are 95 %.",
    ]
    family = ""
    for entry in CATALOGUE:
        figure, data = None, ""
        for source in sources:
            try:
                figure = entry.draw(source)
                about = source.store.experiment
                data = str(about.get("name") or about.get("model") or source.store.path.stem)
                break
            except IncompleteStore:
                plt.close("all")
        if entry.family != family:
            family = entry.family
            lines += ["", f"## {family.capitalize()}"]
        if figure is None:
            lines += [
                "",
                f"`{entry.name}`: {entry.about} (No picture: none of the stores at hand allows it.)",
            ]
            continue
        path = out / f"{entry.name}.png"
        house.write(figure, path, dpi=dpi)
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(
                256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
            )
        small.save(path, optimize=True)
        plt.close(figure)
        lines += ["", f"`{entry.name}`: {entry.about}", "", f"![{entry.about}]({where}/{entry.name}.png)", ""]
        lines += [f"<sub>{house.caption(figure)} Data: {data}.</sub>"]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    click.echo(f"{page}: {sum(p.stat().st_size for p in out.glob('*.png')) / 1e6:.2f} MB of pictures")


if __name__ == "__main__":
    gallery()
