"""Maps of a space: those a study or a table brings, PCA at once, t-SNE on request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError
from nearkin.explore.sources import Say, Space
from nearkin.fileio import as_object, read_arrays, read_object
from nearkin.maps.maps import draw_maps, pca, why_no_map
from nearkin.maps.tsne import tsne_of_rows

MOST_TSNE = 10_000  # as 'nearkin map' does
_JUDGED = 4000  # images up to which the quality of a map is measured at once
NAMES = {"tsne": "t-SNE", "pca": "PCA", "table": "from the table"}


@dataclass(frozen=True)
class PointMap:
    """Attributes:
    coords: float32 (N, 2) within [-1, 1], NaN for images that are not on the map.
    note: what it is and how far to trust it, in words.
    """

    coords: NDArray[np.float32]
    note: str


def fitted(coords: NDArray[np.float32]) -> NDArray[np.float32]:
    """Both axes by one scale into [-1, 1], the middle at 0; rows with a value that is not finite become NaN."""
    out = coords.astype(np.float64)
    bad = ~np.isfinite(out).all(axis=1)
    out[bad] = np.nan
    if bad.all():
        return out.astype(np.float32)
    low, high = np.nanmin(out, axis=0), np.nanmax(out, axis=0)
    span = float((high - low).max()) or 1.0
    return np.asarray(1.9 * (out - (low + high) / 2) / span, dtype=np.float32)


def _quality(trust: Any, kept: Any) -> str:
    if not isinstance(trust, int | float) or not isinstance(kept, int | float):
        return ""
    return f"trustworthiness {trust:.2f}, {100 * kept:.0f} % of the nearest neighbours kept"


def stored_maps(space: Space) -> dict[str, PointMap]:
    """The maps that a study saved with the run (of test images), by kind. Raises DataError when they are damaged."""
    path = None if space.run is None else space.run / "maps.npz"
    if path is None or not path.exists():
        return {}
    layer = space.layer or space.file.stem
    arrays = read_arrays(path)
    if f"{layer}/ids" not in arrays:
        return {}
    names = arrays[f"{layer}/ids"].ravel().tolist()
    where = {str(name): k for k, name in enumerate(names)}
    ids = space.embeddings.ids.tolist()
    rows = np.array([where.get(name, -1) for name in ids], dtype=np.int64)
    evaluation = space.run / "evaluation.json" if space.run else None
    measured: dict[str, Any] = {}
    if evaluation is not None and evaluation.exists():
        measured = as_object(read_object(evaluation).get("layers"))
        measured = as_object(as_object(measured.get(layer)).get("maps"))
    out = {}
    for kind in ("tsne", "pca"):
        if f"{layer}/{kind}" not in arrays or (rows < 0).all() or as_object(measured.get(kind)).get("skipped"):
            continue
        if arrays[f"{layer}/{kind}"].shape != (len(names), 2) or arrays[f"{layer}/{kind}"].dtype.kind != "f":
            raise DataError(
                f"{path} is damaged ({layer}/{kind} is no map of its images). Delete it and run the study again."
            )
        coords = np.where((rows < 0)[:, None], np.nan, arrays[f"{layer}/{kind}"][np.maximum(rows, 0)])
        numbers = as_object(measured.get(kind))
        words = _quality(numbers.get("trustworthiness"), numbers.get("preservation"))
        shown = int((rows >= 0).sum())
        part = "" if shown == len(rows) else f"{shown:,} of {len(rows):,} images"
        out[kind] = PointMap(fitted(coords.astype(np.float32)), "; ".join(text for text in (part, words) if text))
    return out


def pca_map(space: Space, *, seed: int = 0) -> PointMap:
    """PCA of all images; an embedding without one (collapsed, too few images) gets a line of points and a note."""
    Z = space.embeddings.Z
    if len(Z) <= _JUDGED:
        found = draw_maps(Z, None, seed=seed, kinds=("pca",))["pca"]
        if found.skipped:
            return _no_map(len(Z), found.skipped)
        share = 100 * sum(found.explained or ())
        words = _quality(found.trustworthiness, found.preservation)
        return PointMap(fitted(found.coords), f"{share:.0f} % of the variance; {words}".rstrip("; "))
    if reason := why_no_map(Z):
        return _no_map(len(Z), reason)
    coords, explained = pca(Z, seed=seed)
    return PointMap(fitted(coords), f"{100 * sum(explained):.0f} % of the variance")


def tsne_map(space: Space, *, seed: int, say: Say) -> PointMap:
    """t-SNE as 'nearkin map' draws it: of at most 10,000 images (a seeded choice), others placed on it; says how long it took."""
    Z = space.embeddings.Z
    rows = np.sort(np.random.default_rng(seed).permutation(len(Z))[:MOST_TSNE])
    say(f"t-SNE of {len(rows):,} images by {space.title}; this takes a while")
    start = time.monotonic()
    if len(rows) <= _JUDGED:
        found = draw_maps(Z[rows], None, seed=seed, kinds=("tsne",))["tsne"]
        if found.skipped:
            return _no_map(len(Z), found.skipped)
        drawn, words = found.coords, _quality(found.trustworthiness, found.preservation)
    elif reason := why_no_map(Z[rows]):
        return _no_map(len(Z), reason)
    else:
        drawn, words = tsne_of_rows(Z, rows, seed=seed, perplexity=30.0), ""
    say(f"t-SNE of {space.title}: {time.monotonic() - start:.0f} s")
    part = "" if len(rows) == len(Z) else f"{len(rows):,} of {len(Z):,} images, the others placed among them"
    return PointMap(fitted(drawn), "; ".join(text for text in (part, words) if text))


def _no_map(n: int, reason: str) -> PointMap:
    return PointMap(np.stack([np.linspace(-0.9, 0.9, n), np.zeros(n)], axis=1).astype(np.float32), f"no map: {reason}")
