"""Draw a map of an embedding into a file, and say how honest it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, unknown
from nearkin.fileio import claim
from nearkin.maps.maps import K, draw_maps, draw_of_part
from nearkin.maps.stability import map_stability


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
        rows = np.sort(np.random.default_rng(seed).permutation(whole)[:max_images])
        item = draw_of_part(part.Z, part.labels, rows, kind=kind, seed=seed)
    else:
        item = draw_maps(part.Z, part.labels, seed=seed, kinds=(kind,))[kind]
    if item.skipped:
        raise ConfigError(f"no map: {item.skipped}.")
    claim(out.parent)
    from nearkin.maps.picture import save_map

    save_map(part, item, out, title=kind)
    trust = "-" if item.trustworthiness is None else f"{item.trustworthiness:.3f}"
    fitted = ""
    if whole > max_images:
        fitted = f", judged by {max_images:,}" + (" it was fitted on" if kind == "tsne" else "")
    return f"{whole:,} images{fitted}; trustworthiness {trust}, neighbours preserved {100 * (item.preservation or 0):.0f} %"


def agreement_of_maps(embeddings: Embeddings, *, split: str, seeds: Sequence[int]) -> str:
    """How far t-SNE maps of several seeds agree with each other and with the embedding, in words."""
    part = _rows(embeddings, split)
    found = map_stability(part.Z, part.labels, seeds=seeds, k=min(K, len(part) - 1))
    lines = [
        f"t-SNE maps of {len(seeds)} seeds, {found.n:,} images, {found.k} neighbours, by the layout they start from:"
    ]
    for item in found.starts:
        line = f"  {item.start}: {100 * item.overlap:.0f} % of an image's neighbours on one map are so on another"
        line += f" (chance {100 * found.chance:.1f} %), {100 * item.preservation:.0f} % of those in the embedding"
        if item.mixing_correlation is not None:
            line += f"; mixing of the classes correlates with the embedding's at {item.mixing_correlation:.2f}"
        lines.append(line)
    return "\n".join(lines)
