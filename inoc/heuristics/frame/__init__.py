"""From a store to the table of heuristics: registry, stored inputs, resolution, rows, reference page."""
