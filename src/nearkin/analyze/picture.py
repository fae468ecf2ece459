"""A map as a file: Parquet with coordinates, or a PNG picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nearkin.analyze.maps import Map
from nearkin.embeddings import Embeddings
from nearkin.errors import OutputError

# Ten colours that colour-blind readers can tell apart (Paul Tol's "muted", extended by gray).
COLOURS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#777777")


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
        axes.legend(markerscale=4, frameon=False)
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}.") from error
