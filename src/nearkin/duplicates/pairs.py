"""What a search for duplicates finds: pairs of images with their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.duplicates.calibration import Calibration
from nearkin.duplicates.registration import Alignment

PIXEL_FEATURES = ("correlation", "detail", "local", "extent")


@dataclass(frozen=True)
class Pairs:
    """M pairs of images, best first.

    Attributes:
        a: int64 (M,), rows of the searched-for set. b: int64 (M,), rows of the set searched in (the same set when one
            set is searched within itself; then a < b and each pair stands once).
        distance: float32 (M,), in the embedding. relative: float32 (M,), the same over the typical distance of the
            2k-th neighbour. score: float64 (M,), probability of a duplicate, in [0, 1]; NaN without images.
        exact: bool (M,), every pixel the same. alignment: of the pixels; None without images.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    distance: NDArray[np.float32]
    relative: NDArray[np.float32]
    score: NDArray[np.float64]
    exact: NDArray[np.bool_]
    alignment: Alignment | None

    def __len__(self) -> int:
        return len(self.a)

    def take(self, index: NDArray[Any]) -> Pairs:
        """The pairs at ``index``."""
        return Pairs(
            self.a[index],
            self.b[index],
            self.distance[index],
            self.relative[index],
            self.score[index],
            self.exact[index],
            None if self.alignment is None else self.alignment.take(index),
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """The numbers of every pair by name, each (M,)."""
        out: dict[str, NDArray[Any]] = {"distance": self.distance, "relative_distance": self.relative}
        if self.alignment is not None:
            pixels = {name: getattr(self.alignment, name) for name in (*PIXEL_FEATURES, "flip")}
            out = {"score": self.score, "exact": self.exact, **pixels, **out}
        return out


@dataclass(frozen=True)
class Duplicates:
    """Attributes:
    pairs: at or above the threshold. n_queries, n_base: images of both sides; within: whether they are one set.
    candidates: number of pairs looked at. threshold: on the score (on the distance when not verified).
    typical: median distance of the last neighbour searched.
    verified: whether pixels were compared. calibration: None when not verified, when the threshold needed none, or when
        too few copies could be compared (then only exact duplicates are reported).
    """

    pairs: Pairs
    n_queries: int
    n_base: int
    within: bool
    candidates: int
    threshold: float
    typical: float
    verified: bool
    calibration: Calibration | None

    def rows(self) -> NDArray[np.int64]:
        """Rows of the searched-for set that have a duplicate, ascending."""
        ends = (self.pairs.a, self.pairs.b) if self.within else (self.pairs.a,)
        return np.unique(np.concatenate(ends)).astype(np.int64)

    @property
    def share(self) -> float:
        """Share of the searched-for images that have a duplicate, in [0, 1]."""
        return len(self.rows()) / self.n_queries if self.n_queries else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able (without the single pairs; they are a table)."""
        return {
            "verified": self.verified,
            "within": self.within,
            "images": self.n_queries,
            "searched_in": self.n_base,
            "candidates": self.candidates,
            "pairs": len(self.pairs),
            "exact_pairs": int(self.pairs.exact.sum()),
            "images_with_duplicate": len(self.rows()),
            "share": self.share,
            "threshold": self.threshold,
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
        }
