"""Retrieval, hubs, and what neighbours agree in, of every method's first run, on test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data import ImageSet
from nearkin.factors.agreement import FactorAgreement, dominance, neighbor_agreement
from nearkin.factors.factors import PIXEL_METRIC, Factor, known_factors, pixel_factors, pixel_vectors
from nearkin.fileio import read_object, to_json, write_json
from nearkin.retrieval.hubs import CANDIDATES, K, hubs
from nearkin.retrieval.nearest import class_examples, nearest, queries_of
from nearkin.retrieval.precision import precision_at_k
from nearkin.runs.run import FinishedRun, first_seed
from nearkin.search.exact import knn

_LEAST = 12  # test images below which lists of ten neighbours say nothing
_VERSION = 3  # of what is saved
_PIXELS = "raw-pixels"


def neighbour_uses(
    study: Path, runs: list[FinishedRun], test: ImageSet, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One JSON-able dictionary per method: "retrieval", "precision", "hubs", "factors". Saved in uses/neighbours."""
    if len(test) < _LEAST:
        return []
    images = np.asarray(test.images)
    yardstick: tuple[Sequence[Factor], FactorAgreement] | None = None  # made when the first run needs it
    out = []
    for run in first_seed(runs):
        path = study / "uses" / "neighbours" / f"{run.folder.name}.json"
        if path.exists():
            found = read_object(path)
            if found.get("key") == _key(run):
                out.append(found)
                continue
        say(f"  neighbours of {run.title}")
        part = run.embeddings().part("test")
        k, candidates = min(K, len(part) - 1), min(CANDIDATES, len(part) - 1)
        every = run.search(part.Z, part.Z, candidates, exclude_self=True)
        near = every.first(k)
        if yardstick is None:
            yardstick = _pixels(test, images, part.labels, k)
        factors, pixels = yardstick
        # Raw pixels stand in the table as the yardstick itself, found by the same distance.
        own = run.method == _PIXELS
        agreed = pixels if own else neighbor_agreement(near, part.labels, factors)
        said = dominance(agreed, None if own else pixels, name=f"raw pixels ({PIXEL_METRIC})")
        precision = None
        if part.labels is not None and part.labelled:
            precision = precision_at_k(near, part.labels, part.labels, part.classes, True)
        queries = queries_of(part, class_examples(part))
        shown = nearest(part, queries, n_neighbors=min(5, len(part) - 1), with_farthest=True)
        hubness = hubs(part, n_neighbors=k, candidates=candidates, pixels=images, neighbors=every)
        found = {
            "key": _key(run),
            "run": run.folder.name,
            "method": run.method,
            "title": run.title,
            "layer": run.layer,
            "retrieval": to_json(shown),
            "precision": to_json(precision),
            "hubs": to_json(hubness),
            "factors": to_json(agreed) | {"statement": said.text},
        }
        write_json(path, found)
        out.append(found)
    return out


def _pixels(
    test: ImageSet, images: NDArray[np.uint8], labels: NDArray[np.int64] | None, k: int
) -> tuple[Sequence[Factor], FactorAgreement]:
    """The factors of the test images, and what neighbours of their raw pixels (L2) agree in."""
    factors = (*known_factors(dict(test.factors)), *pixel_factors(images))
    raw = pixel_vectors(images)
    near = knn(raw, raw, k, metric=PIXEL_METRIC, exclude_self=True)
    return factors, neighbor_agreement(near, labels, factors)


def _key(run: FinishedRun) -> str:
    return f"{_VERSION} {run.digest}"


def wanted_ids(uses: list[dict[str, Any]]) -> set[str]:
    """Ids of the images that the report shows of these."""
    out: set[str] = set()
    for item in uses:
        for answer in item["retrieval"]["answers"]:
            out |= {answer["id"], *(hit["id"] for side in ("nearest", "farthest") for hit in answer[side])}
        for side in ("hubs", "antihubs", "farthest_images"):
            out |= {entry["id"] for entry in item["hubs"][side][:10]}
    return out
