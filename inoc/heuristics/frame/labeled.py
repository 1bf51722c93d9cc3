"""The Dataset of heuristics: plain xarray, with a short view in notebooks."""

import xarray as xr

from inoc.notebook import html_table


class HeuristicsDataset(xr.Dataset):
    """An `xarray.Dataset` of heuristics. In a notebook it is a row for each heuristic with its units and formula."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        sizes = ", ".join(f"{dim} {n}" for dim, n in self.sizes.items())
        rows = [
            (str(name), " x ".join(map(str, v.dims)), str(v.attrs.get("units", "")), str(v.attrs.get("formula", "")))
            for name, v in self.data_vars.items()
            if "formula" in v.attrs and not str(name).endswith(("_lower", "_upper"))
        ]
        others = len(self.data_vars) - len(rows)
        caption = f"Heuristics ({sizes}); {others} companions such as intervals are not listed: list(dataset) names all"
        return html_table(caption, ("name", "dims", "units", "formula"), rows)
