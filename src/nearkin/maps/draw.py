"""Maps as files: Parquet with coordinates, or a PNG picture by class or by cluster; and how honest they are, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, OutputError, unknown
from nearkin.fileio import claim
from nearkin.format import PALETTE
from nearkin.maps.maps import K, Map, draw_maps, draw_of_part
from nearkin.maps.stability import map_stability
from nearkin.vectors import sample_rows

_NAMED = 20  # most classes in a legend; more would cover the map


def _rows(embeddings: Embeddings, split: str) -> Embeddings:
    """The rows of one split, or all. Raises ConfigError where there are none."""
    part = embeddings if split == "all" else embeddings.part(split)
    if not len(part):
        raise ConfigError(
            f"no rows with split '{split}'; the file has: {', '.join(sorted(set(embeddings.split.tolist())))}. Use --split all."
        )
    return part


def draw(embeddings: Embeddings, out: Path, *, kind: str, split: str, max_images: int, seed: int) -> str:
    """Draw one map into a .parquet or .png file; return a line on its trustworthiness."""
    if kind not in ("tsne", "pca"):
        raise unknown("map", kind, ("tsne", "pca"))
    if out.suffix not in (".parquet", ".png"):
        raise ConfigError(f"-o {out}: a map is written as .parquet or .png.")
    part = _rows(embeddings, split)
    whole = len(part)
    if whole > max_images:
        rows = sample_rows(whole, max_images, seed)
        item = draw_of_part(part.Z, part.labels, rows, kind=kind, seed=seed)
    else:
        item = draw_maps(part.Z, part.labels, seed=seed, kinds=(kind,))[kind]
    if item.skipped:
        raise ConfigError(f"no map: {item.skipped}.")
    claim(out.parent)
    save_map(part, item, out, title=kind)
    trust = "-" if item.trustworthiness is None else f"{item.trustworthiness:.3f}"
    fitted = ""
    if whole > max_images:
        fitted = f", judged by {max_images:,}" + (" it was fitted on" if kind == "tsne" else "")
    return f"{whole:,} images{fitted}; trustworthiness {trust}, neighbours preserved {100 * (item.preservation or 0):.0f} %"


def agreement_of_maps(embeddings: Embeddings, *, split: str, seeds: Sequence[int]) -> str:
    """Say how far t-SNE maps of several seeds agree with each other and with the embedding."""
    part = _rows(embeddings, split)
    stability = map_stability(part.Z, part.labels, seeds=seeds, k=min(K, len(part) - 1))
    lines = [
        f"t-SNE maps of {len(seeds)} seeds, {stability.n:,} images, {stability.k} neighbours, by the layout they start from:"
    ]
    for item in stability.starts:
        line = f"  {item.start}: {100 * item.overlap:.0f} % of an image's neighbours on one map are so on another"
        line += f" (chance {100 * stability.chance:.1f} %), {100 * item.preservation:.0f} % of those in the embedding"
        if item.mixing_correlation is not None:
            line += f"; mixing of the classes correlates with the embedding's at {item.mixing_correlation:.2f}"
        lines.append(line)
    return "\n".join(lines)


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
            axes.scatter(item.coords[rows, 0], item.coords[rows, 1], s=3, color=PALETTE[k % len(PALETTE)], label=name)
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
        axes.scatter(coords[rows, 0], coords[rows, 1], s=3, color=PALETTE[k % len(PALETTE)])
        # A white outline keeps the sign readable on its own cluster.
        axes.scatter(centre[0], centre[1], s=260, marker="o", color="white", edgecolors="black", zorder=3)
        axes.annotate(str(k), (centre[0], centre[1]), ha="center", va="center", fontsize=9, zorder=4)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}.") from error
