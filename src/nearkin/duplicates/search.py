"""What 'nearkin duplicates' searches: splits and files -> calls of the analysis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.data.sources import images_of
from nearkin.duplicates.find import find_duplicates, group_duplicates
from nearkin.duplicates.grouping import Groups
from nearkin.duplicates.lookalikes import Lookalikes, lookalikes_far_apart
from nearkin.duplicates.pairs import Duplicates, Pairs
from nearkin.duplicates.planted import Planted, plant
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.search import exact as neighbors

Pixels = NDArray[np.uint8]
_SAME = 0.98  # cosine from which a run's vector counts as the stored one (other devices round differently)


@dataclass(frozen=True)
class Request:
    """The command's options."""

    images: str | None
    run: Path | None
    split: str
    across: str | None
    against: Path | None
    against_images: str | None
    k: int
    threshold: float | None
    precision: float
    metric: str
    seed: int
    device: str

    def check(self, lookalikes: int, pairs: Path | None, fail_over: float | None) -> None:
        """Refuse what cannot work before anything is read. Raises ConfigError."""
        if self.across is not None and (self.against is not None or self.split != "all"):
            raise ConfigError("--across names the splits itself; it goes with neither --split nor --against.")
        if self.against is None and self.against_images is not None:
            raise ConfigError("--against-images belongs to --against FILE, the other embeddings.")
        if self.against is not None and (self.images is None) != (self.against_images is None):
            raise ConfigError("give --images and --against-images, or neither of them.")
        if self.images is None:
            for flag, given in (("--run", self.run), ("--lookalikes", lookalikes or None)):
                if given is not None:
                    raise ConfigError(f"{flag} needs --images: the data the embeddings were made of.")
            if self.threshold is None:
                raise ConfigError(
                    "without --images nothing can be calibrated: give --threshold, the largest distance of a pair "
                    "(e.g. 0.05), or --images."
                )
        if self.k < 1:
            raise ConfigError(f"--k is {self.k}; at least one neighbour is needed.")
        if pairs is not None and pairs.suffix not in (".csv", ".parquet"):
            raise ConfigError(f"--pairs {pairs}: pairs are written as .csv or .parquet.")
        if fail_over is not None and not 0 <= fail_over <= 1:
            raise ConfigError(f"--fail-over is {fail_over:g}; it is a share between 0 and 1, e.g. 0.01.")


@dataclass(frozen=True)
class Search:
    """One search: rows (of the embeddings) that were asked, rows they were looked for in (None: another file)."""

    title: str
    asked: NDArray[np.int64]
    base: NDArray[np.int64] | None
    found: Duplicates


@dataclass(frozen=True)
class Found:
    """Everything the command found. ``other`` and ``other_pixels``: the embeddings and images of --against."""

    embeddings: Embeddings
    pixels: Pixels | None
    other: Embeddings | None
    other_pixels: Pixels | None
    searches: tuple[Search, ...]
    groups: Groups | None

    def partners(self, search: Search) -> tuple[Embeddings, Pixels | None, NDArray[np.int64]]:
        """Embeddings, images and rows of the second image of each pair."""
        if search.base is None and self.other is not None:
            return self.other, self.other_pixels, search.found.pairs.b
        rows = search.asked if search.base is None else search.base
        return self.embeddings, self.pixels, rows[search.found.pairs.b]


def parse_threshold(text: str) -> float | None:
    """None for "auto". Raises ConfigError for anything but that or a number."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"--threshold {text}: expected auto or a number.") from error


def find(loaded: Embeddings, request: Request, nearest: neighbors.Search = neighbors.knn) -> Found:
    """Run the searches, candidates found by ``nearest``. Raises ConfigError and DataError."""
    parts = _parts(loaded, request)
    pixels = None if request.images is None else images_of(loaded.ids, request.images, size=loaded.image_size).images
    other, other_pixels = None, None
    if request.against is not None:
        other = Embeddings.load(request.against)
        if other.Z.shape[1] != loaded.Z.shape[1]:
            raise DataError(
                f"--against {request.against} has {other.Z.shape[1]} dimensions, the embeddings have {loaded.Z.shape[1]}; "
                "both must come from the same run and layer."
            )
        if request.against_images is not None:
            other_pixels = images_of(other.ids, request.against_images, size=other.image_size).images
    searches = []
    for title, asked, base in parts:
        vectors, pictures = (None, None) if base is None else (loaded.Z[base], None if pixels is None else pixels[base])
        if other is not None:
            vectors, pictures = other.Z, other_pixels
        own = None if pixels is None else pixels[asked]
        result = _search(loaded, request, loaded.Z[asked], own, vectors, pictures, nearest)
        searches.append(Search(title, asked, base, result))
    groups = None
    if other is None:
        merged = _merged(searches)
        groups = group_duplicates(merged, searches[0].found, loaded.Z, pixels, metric=request.metric)
    return Found(loaded, pixels, other, other_pixels, tuple(searches), groups)


def reverse(found: Found, count: int, metric: str, seed: int) -> tuple[NDArray[np.int64], Lookalikes]:
    """Pairs alike in pixels but far apart in the embedding, among the images asked; and those images' rows."""
    rows = np.unique(np.concatenate([search.asked for search in found.searches]))
    if found.pixels is None:
        raise ConfigError("--lookalikes needs --images: the data the embeddings were made of.")
    pixels, Z = found.pixels[rows], found.embeddings.Z[rows]
    return rows, lookalikes_far_apart(pixels, Z, count=count, metric=metric, seed=seed)


def _parts(loaded: Embeddings, request: Request) -> list[tuple[str, NDArray[np.int64], NDArray[np.int64] | None]]:
    """Title, rows asked and rows searched in (None: the rows themselves, or the other file)."""
    from nearkin.embeddings import rows_of

    if request.across is None:
        rows = rows_of(loaded.split, request.split)
        title = "images" if request.split == "all" else request.split
        if request.against is not None:
            return [(f"{title} in {request.against.name}", rows, None)]
        return [(f"within {'all images' if request.split == 'all' else title}", rows, None)]
    names = request.across.split(",")
    if len(names) != 2:
        raise ConfigError(f"--across {request.across}: expected two splits, e.g. train,test or train+val,test.")
    sides = [np.unique(np.concatenate([rows_of(loaded.split, part) for part in name.split("+")])) for name in names]
    if len(np.intersect1d(sides[0], sides[1])):
        raise ConfigError(f"--across {request.across}: the two sides share images; name each split once.")
    return [(f"{names[1]} in {names[0]}", sides[1], sides[0]), (f"within {names[1]}", sides[1], None)]


def _search(
    loaded: Embeddings,
    request: Request,
    Z: NDArray[np.float32],
    pixels: Pixels | None,
    base: NDArray[np.float32] | None,
    base_pixels: Pixels | None,
    nearest: neighbors.Search,
) -> Duplicates:
    target, pictures = (Z, pixels) if base is None else (base, base_pixels)
    planted: Planted | None = None
    vectors = None
    if request.run is not None and pictures is not None:
        planted = plant(pictures, request.seed)
        vectors = _embed(loaded, request, request.run, planted, target, pictures)
    return find_duplicates(
        Z,
        pixels,
        base=base,
        base_images=base_pixels,
        k=request.k,
        metric=request.metric,
        threshold=request.threshold,
        precision=request.precision,
        planted=planted,
        planted_Z=vectors,
        seed=request.seed,
        find=nearest,
    )


def _embed(
    loaded: Embeddings, request: Request, run: Path, planted: Planted, target: NDArray[np.float32], pictures: Pixels
) -> NDArray[np.float32]:
    """Vectors of the copies, once the run has shown that it makes the stored vectors of the originals."""
    from nearkin.runs.steps import embed_images
    from nearkin.search.exact import unit_rows

    few = np.unique(planted.source_row[:64])
    layer = loaded.provenance.get("layer")
    both = embed_images(run, np.concatenate([pictures[few], planted.copies]), layer, request.device)
    if both.shape[1] != target.shape[1]:
        raise DataError(f"--run {run} gives {both.shape[1]} dimensions; the embeddings have {target.shape[1]}.")
    alike = (unit_rows(both[: len(few)]) * unit_rows(target[few])).sum(axis=1)
    if float(np.median(alike)) < _SAME:
        raise ConfigError(
            f"--run {run} did not make these embeddings (cosine {np.median(alike):.2f} for the same images)."
        )
    return both[len(few) :]


def _merged(searches: list[Search]) -> Pairs:
    """The pairs of all searches with rows of the embeddings."""
    parts = []
    for search in searches:
        pairs = search.found.pairs
        rows = search.asked if search.base is None else search.base
        parts.append((search.asked[pairs.a], rows[pairs.b], pairs))
    a, b = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    distance, relative, score, exact = (
        np.concatenate([getattr(pairs, name) for _, _, pairs in parts])
        for name in ("distance", "relative", "score", "exact")
    )
    return Pairs(a, b, distance, relative, score, exact, None)
