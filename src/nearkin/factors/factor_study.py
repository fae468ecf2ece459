"""All that is asked about factors of one embedding: what neighbours share, beside raw pixels, and what can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.factors.agreement import FactorAgreement, neighbor_agreement
from nearkin.factors.factor_probe import MAX_TRAIN, FactorProbe, factor_probe
from nearkin.factors.factor_summary import Dominance, dominance
from nearkin.factors.factors import PIXEL_METRIC, Factor, class_factor, known_factors, pixel_factors, pixel_vectors
from nearkin.search.exact import Neighbors, knn

K = 10
MAX_IMAGES = 10_000
ALL = "all"


@dataclass(frozen=True)
class FactorStudy:
    """Attributes:
    split, metric: whose neighbours, and by what. rows: int64 (M,), the rows whose neighbours were compared.
    neighbors: (M, k), indices into ``rows``.
    agreement, raw_pixels: of the embedding and of the pixels (None where not asked for). dominance: both in words.
    pixel_metric: by what neighbours of raw pixels were found.
    probe: None where not asked for.
    """

    split: str
    metric: str
    rows: NDArray[np.int64]
    neighbors: Neighbors
    agreement: FactorAgreement
    raw_pixels: FactorAgreement | None
    pixel_metric: str
    dominance: Dominance
    probe: FactorProbe | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without rows and neighbours."""
        return {
            "split": self.split,
            "metric": self.metric,
            "agreement": self.agreement.to_dict(),
            "raw_pixels": None if self.raw_pixels is None else self.raw_pixels.to_dict(),
            "pixel_metric": self.pixel_metric,
            "dominance": self.dominance.to_dict(),
            "probe": None if self.probe is None else self.probe.to_dict(),
        }


def compared_rows(split: NDArray[np.str_], wanted: str, *, max_images: int, seed: int) -> NDArray[np.int64]:
    """Rows of one split (or "all"), ascending, at most ``max_images``, a seeded choice. Raises ConfigError below 2."""
    rows = np.arange(len(split)) if wanted == ALL else np.flatnonzero(split == wanted)
    if max_images < 2 or len(rows) < 2:
        legal = ", ".join([ALL, *sorted(set(split.tolist()))])
        raise ConfigError(
            f"{min(max_images, len(rows))} images of split '{wanted}' have no neighbours to compare; "
            f"at least 2 are needed, and the split can be: {legal}."
        )
    return np.sort(np.random.default_rng(seed).permutation(rows)[:max_images])


def probed_rows(split: NDArray[np.str_], *, max_train: int = MAX_TRAIN, seed: int = 0) -> NDArray[np.int64]:
    """Rows that the factor probe uses: val and test, and a seeded choice of at most ``max_train`` of train; ascending."""
    train = np.random.default_rng(seed).permutation(np.flatnonzero(split == "train"))[:max_train]
    return np.union1d(train, np.flatnonzero((split == "val") | (split == "test")))


def study_factors(
    embeddings: Embeddings,
    images: NDArray[np.uint8],
    known: dict[str, NDArray[Any]] | None = None,
    *,
    split: str = "test",
    k: int = K,
    metric: str = "cosine",
    max_images: int = MAX_IMAGES,
    max_train: int = MAX_TRAIN,
    raw_pixels: bool | FactorAgreement = True,
    pixel_metric: str = PIXEL_METRIC,
    probe: bool = True,
    seed: int = 0,
) -> FactorStudy:
    """Compare what neighbours of one split share, and read every factor from the embedding.

    Args:
        embeddings: N rows. images: uint8 (N, 3, H, W), the same images in the same order.
        known: a data set's own factors, (N,) each, see :func:`known_factors`.
        raw_pixels: compare with the pixels' neighbours; those of an earlier call with the same images, split, k and seed
            can be given instead of computed again.
        pixel_metric: "l2", whose neighbours agree in colour and brightness above all, or "cosine", which divides
            brightness out: what an embedding gains or loses in background and colour depends on it, so say which.
        probe: needs rows of train, val and test.
    Raises:
        ConfigError: too few rows in the split, an unknown metric, or k out of range.
        DataError: another number of images, vectors that are not finite, or, with ``probe``, a split without rows.
    """
    if len(images) != len(embeddings):
        raise DataError(f"{len(images)} images for {len(embeddings)} vectors; factors need one image per vector.")
    rows = compared_rows(embeddings.split, split, max_images=max_images, seed=seed)
    part = embeddings.take(rows)
    near = knn(part.Z, part.Z, k, metric=metric, exclude_self=True)
    every = (*known_factors(known or {}), *pixel_factors(images))
    shared, labels = [item.take(rows) for item in every], part.labels
    found = neighbor_agreement(near, labels, shared, seed=seed)
    pixels = raw_pixels if isinstance(raw_pixels, FactorAgreement) else None
    if raw_pixels is True:
        flat = pixel_vectors(images[rows])
        by_pixels = knn(flat, flat, k, metric=pixel_metric, exclude_self=True)
        pixels = neighbor_agreement(by_pixels, labels, shared, seed=seed)
    read = None
    if probe:
        read_from = probed_rows(embeddings.split, max_train=max_train, seed=seed)
        wanted = [item.take(read_from) for item in _with_class(embeddings.labels, every)]
        read = factor_probe(embeddings.Z[read_from], embeddings.split[read_from], wanted, k=k)
    said = dominance(found, pixels, name=f"raw pixels ({pixel_metric})")
    return FactorStudy(split, metric, rows, near, found, pixels, pixel_metric, said, read)


def _with_class(labels: NDArray[np.int64] | None, every: Sequence[Factor]) -> list[Factor]:
    """The class first, where any is known, then the factors."""
    return [*([] if labels is None or not (labels >= 0).any() else [class_factor(labels)]), *every]
