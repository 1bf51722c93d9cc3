"""Packages that are as good as installed: a module beside the metadata that pip would write, in one folder."""

from collections.abc import Mapping
from pathlib import Path


def install(site: Path, name: str, code: str, doors: Mapping[str, str], version: str = "1.0") -> Path:
    """Put a package `name` into the folder `site`: one module, and entry points as {door: "name = target"}."""
    site.mkdir(parents=True, exist_ok=True)
    (site / f"{name}.py").write_text(code)
    about = site / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = "".join(f"[inoc.{door}]\n{point}\n" for door, point in doors.items())
    (about / "entry_points.txt").write_text(points)
    return site
