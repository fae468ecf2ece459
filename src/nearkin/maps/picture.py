"""A map as a file: Parquet with coordinates, or a PNG picture by class or by cluster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings
from nearkin.errors import OutputError
from nearkin.maps.maps import Map

# Ten colours that colour-blind readers can tell apart (Paul Tol's "muted", extended by gray).
COLOURS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#777777")

_NAMED = 20  # classes that a legend names; more would cover the map


def save_map(part: Embeddings, item: Map, out: Path, *, title: str) -> None:
    """Write ``out`` (.parquet or .png). Raises OutputError when the disk refuses."""
    names = [None] * len(part) if part.labels is None else [part.classes[k] if k >= 0 else None for k in part.labels]
    try:
        if out.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            columns = {"id": part.ids.tolist(), "label": pa.array(names, pa.string()), "split": part.split.tolist()}
            pq.write_table(pa.table(columns | {"x": item.coords[:, 0], "y": item.coords[:, 1]}), out)
            return
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 8), layout="constrained")
        axes = figure.add_subplot(title=title, xticks=[], yticks=[])
        groups = np.array(["(no label)" if name is None else name for name in names])
        for k, name in enumerate(dict.fromkeys(sorted(groups.tolist()))):
            rows = groups == name
            axes.scatter(item.coords[rows, 0], item.coords[rows, 1], s=3, color=COLOURS[k % len(COLOURS)], label=name)
        if 1 < len(set(groups.tolist())) <= _NAMED:
            axes.legend(markerscale=4, frameon=False)
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}.") from error


def save_clusters(
    coords: NDArray[np.float32], assigned: NDArray[np.int64], centres: NDArray[np.float32], out: Path, *, title: str
) -> None:
    """Write a PNG of a map (N, 2) coloured by cluster, noise (-1) in light gray, with a numbered sign at each centre (K, 2).

    Raises OutputError when the disk refuses.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.add_subplot(title=title, xticks=[], yticks=[])
    noise = assigned < 0
    axes.scatter(coords[noise, 0], coords[noise, 1], s=2, color="#DDDDDD")
    for k, centre in enumerate(centres):
        rows = assigned == k
        axes.scatter(coords[rows, 0], coords[rows, 1], s=3, color=COLOURS[k % len(COLOURS)])
        # White around the sign keeps it readable on its own cluster.
        axes.scatter(centre[0], centre[1], s=260, marker="o", color="white", edgecolors="black", zorder=3)
        axes.annotate(str(k), (centre[0], centre[1]), ha="center", va="center", fontsize=9, zorder=4)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}.") from error
