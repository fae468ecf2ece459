"""Retrieval, hubs, and what neighbours agree in, of every method's first run, on test images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nearkin.analyze.agreement import FactorAgreement, neighbor_agreement
from nearkin.analyze.dominance import dominance
from nearkin.analyze.factors import known_factors, pixel_factors, pixel_vectors
from nearkin.analyze.hubness import CANDIDATES, K, hubness
from nearkin.analyze.precision import precision_at_k
from nearkin.analyze.retrieval import grid_rows, queries_of, search
from nearkin.atomic import read_json, write_json
from nearkin.data import ImageSet
from nearkin.neighbors import knn
from nearkin.uses.runs import FinishedRun, first_seed

_LEAST = 12  # test images below which lists of ten neighbours say nothing


def neighbour_uses(
    study: Path, runs: list[FinishedRun], test: ImageSet, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One JSON-able dictionary per method: "retrieval", "precision", "hubs", "factors". Saved in uses/neighbours."""
    if len(test) < _LEAST:
        return []
    factors = (*known_factors(dict(test.factors)), *pixel_factors(np.asarray(test.images)))
    pixels: FactorAgreement | None = None
    out = []
    for run in first_seed(runs):
        path = study / "uses" / "neighbours" / f"{run.folder.name}.json"
        if path.exists():
            found = read_json(path)
            if found["digest"] == run.digest:
                out.append(found)
                continue
        say(f"  neighbours of {run.title}")
        part = run.embeddings().part("test")
        near = knn(part.Z, part.Z, min(K, len(part) - 1), exclude_self=True)
        if pixels is None:
            raw = pixel_vectors(np.asarray(test.images))
            pixels = neighbor_agreement(knn(raw, raw, near.indices.shape[1], exclude_self=True), part.labels, factors)
        agreed = neighbor_agreement(near, part.labels, factors)
        precision = None
        if part.labels is not None and part.labelled:
            precision = precision_at_k(near, part.labels, part.labels, part.classes, True)
        queries = queries_of(part, grid_rows(part, seed=0))
        hubs = hubness(
            part, k=near.indices.shape[1], candidates=min(CANDIDATES, len(part) - 1), pixels=np.asarray(test.images)
        )
        found = {
            "digest": run.digest,
            "run": run.folder.name,
            "method": run.method,
            "title": run.title,
            "layer": run.layer,
            "retrieval": search(part, queries, k=min(5, len(part) - 1)).to_dict(),
            "precision": None if precision is None else precision.to_dict(),
            "hubs": hubs.to_dict(),
            "factors": agreed.to_dict() | {"statement": dominance(agreed, pixels).text},
        }
        write_json(path, found)
        out.append(found)
    return out


def wanted_ids(uses: list[dict[str, Any]]) -> set[str]:
    """Ids of the images that the report shows of these."""
    out: set[str] = set()
    for item in uses:
        for answer in item["retrieval"]["answers"]:
            out |= {answer["id"], *(hit["id"] for side in ("nearest", "farthest") for hit in answer[side])}
        for side in ("hubs", "antihubs", "farthest_images"):
            out |= {entry["id"] for entry in item["hubs"][side][:10]}
    return out
