"""A study's step: retrieval, hubs, and what neighbours agree in, of every method's first run, on test images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data import ImageSet
from nearkin.embeddings import Embeddings
from nearkin.factors.agreement import FactorAgreement, dominance, neighbor_agreement
from nearkin.factors.factors import PIXEL_METRIC, Factor, known_factors, pixel_factors, pixel_vectors
from nearkin.fileio import MERGED, to_json
from nearkin.folders import StudyFolder
from nearkin.retrieval.hubs import CANDIDATES, Hubness, K, hubs
from nearkin.retrieval.nearest import DEFAULT_K, Retrieval, nearest
from nearkin.retrieval.precision import Precision, precision_at_k
from nearkin.runs.run import FinishedRun, saved_result
from nearkin.search.exact import KnnSearch, knn

_LEAST = 12  # test images below which lists of ten neighbours say nothing
_VERSION = 3  # of what is saved
_PIXELS = "raw-pixels"


@dataclass(frozen=True)
class PixelBaseline:
    """The factors of the test images, and what neighbours of their raw pixels (L2) agree in."""

    factors: tuple[Factor, ...]
    agreement: FactorAgreement


@dataclass(frozen=True)
class StatedAgreement:
    """The agreement of neighbours, as numbers and in words."""

    agreement: FactorAgreement = field(metadata=MERGED)
    statement: str


@dataclass(frozen=True)
class NeighborSummary:
    """A study's results on the neighbours in one embedding. precision: None without labels."""

    retrieval: Retrieval
    precision: Precision | None
    hubs: Hubness
    factors: StatedAgreement


def pixel_baseline(test: ImageSet, labels: NDArray[np.int64] | None) -> PixelBaseline:
    """The pixels of ``test``, the baseline of its embeddings. labels: int64 (N,), -1 for unknown; None without labels."""
    images = np.asarray(test.images)
    factors = (*known_factors(dict(test.factors)), *pixel_factors(images))
    pixels = pixel_vectors(images)
    near = knn(pixels, pixels, min(K, len(pixels) - 1), metric=PIXEL_METRIC, exclude_self=True)
    return PixelBaseline(factors, neighbor_agreement(near, labels, factors))


def summarise_neighbors(
    part: Embeddings,
    images: NDArray[np.uint8],
    baseline: PixelBaseline,
    *,
    is_baseline: bool = False,
    search: KnnSearch = knn,
) -> NeighborSummary:
    """Ask everything about neighbours within one embedding.

    Args:
        part: of N images. images: uint8 (N, 3, H, W), the same in the same order.
        is_baseline: the vectors are the raw pixels themselves, which stand beside the others as the baseline has them.
        search: what finds the neighbours.
    """
    k, candidates = min(K, len(part) - 1), min(CANDIDATES, len(part) - 1)
    every = search(part.Z, part.Z, candidates, exclude_self=True)
    near = every.first(k)
    agreement = baseline.agreement if is_baseline else neighbor_agreement(near, part.labels, baseline.factors)
    against = None if is_baseline else baseline.agreement
    precision = None
    if part.labels is not None and part.labelled:
        precision = precision_at_k(near, part.labels, part.labels, part.classes, own=True)
    return NeighborSummary(
        retrieval=nearest(part, n_neighbors=min(DEFAULT_K, len(part) - 1), with_farthest=True),
        precision=precision,
        hubs=hubs(part, n_neighbors=k, candidates=candidates, pixels=images, neighbors=every),
        factors=StatedAgreement(agreement, dominance(agreement, against, name=f"raw pixels ({PIXEL_METRIC})").text),
    )


def neighbour_use(
    study: StudyFolder,
    run: FinishedRun,
    load: Callable[[], Embeddings],
    test: ImageSet,
    baseline: Callable[[], PixelBaseline],
    say: Callable[[str], None],
) -> dict[str, Any] | None:
    """A :class:`NeighborSummary` as JSON, with the run's name, title and layer; None for few images. Saved in uses/neighbours.

    Args:
        load: returns the run's embedding. test: the test images. baseline: returns what raw pixels say of them.
    """
    if len(test) < _LEAST:
        return None

    def make() -> dict[str, Any]:
        say(f"  neighbours of {run.title}")
        part, raw = load().part("test"), run.method == _PIXELS
        summary = summarise_neighbors(part, np.asarray(test.images), baseline(), is_baseline=raw, search=run.search)
        return {**run.named(), **to_json(summary)}

    return saved_result(study.use_file("neighbours", run.name), f"{_VERSION} {run.digest}", make)


def wanted_ids(uses: list[dict[str, Any]]) -> set[str]:
    """Ids of the images that the report shows of these."""
    out: set[str] = set()
    for item in uses:
        for answer in item["retrieval"]["answers"]:
            out |= {answer["id"], *(hit["id"] for side in ("nearest", "farthest") for hit in answer[side])}
        for side in ("hubs", "antihubs", "farthest_images"):
            out |= {entry["id"] for entry in item["hubs"][side][:10]}
    return out
