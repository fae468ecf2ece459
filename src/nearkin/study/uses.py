"""All uses of a study, one after another, and the thumbnails that a report of them needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.ood_sets import OodSet, foreign_sets
from nearkin.anomalies.study_step import anomaly_uses
from nearkin.clusters.study_step import cluster_uses
from nearkin.data import Splits
from nearkin.duplicates.study_step import duplicate_uses
from nearkin.fileio import to_json, write_json
from nearkin.retrieval.study_step import neighbour_uses, wanted_ids
from nearkin.runs.run import Study
from nearkin.study.tables import table_uses
from nearkin.system import return_memory

_BACKGROUNDS = 5000
SUMMARY = "uses.json"


def load_ood(sources: Sequence[str], splits: Splits, progress: bool) -> list[OodSet]:
    """Out-of-distribution images at the study's size; gray ones (digits) also in variants without shortcuts.

    Raises:
        DataError: what :func:`nearkin.data.load` raises.
    """
    pick = np.sort(np.random.default_rng(0).permutation(len(splits.train))[:_BACKGROUNDS])
    size, backgrounds = int(splits.train.images.shape[-1]), splits.train.images[pick]
    return foreign_sets(sources, size, backgrounds=backgrounds, unseen=splits.val.images, progress=progress)


def run_uses(
    study: Path, splits: Splits, ood: Sequence[str], device: str, progress: bool, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[OodSet]]:
    """Compute what is missing, write the tables and uses.json, and return that with the out-of-distribution sets."""
    runs = Study(study).finished()
    say("uses: search, hubs, factors, clusters, near-duplicates, anomalies")
    sets = load_ood(ood, splits, progress)
    return_memory()  # here and below: what a step has freed would lie beside what the next one needs
    clusters = cluster_uses(study, runs, say)
    return_memory()
    duplicates = duplicate_uses(study, runs, splits, say)
    return_memory()
    assigned = {item["run"]: item.pop("assigned") for item in clusters if "assigned" in item}
    connected = duplicates.pop("sets") if duplicates else None
    neighbours = neighbour_uses(study, runs, splits.test, say)
    return_memory()
    found: dict[str, Any] = {
        "neighbours": neighbours,
        "clusters": clusters,
        "duplicates": duplicates,
        "anomalies": to_json(anomaly_uses(study, runs, splits, sets, device, say)),
        "tables": table_uses(study, runs, assigned, connected, say),
    }
    write_json(study / SUMMARY, found)
    return found, sets


def uses_thumbnails(
    found: dict[str, Any], splits: Splits, sets: list[OodSet]
) -> tuple[set[str], dict[str, NDArray[np.uint8]]]:
    """Ids of the study's images that the report shows, and foreign images by "SET:ID"."""
    ids = wanted_ids(found["neighbours"])
    for item in found["clusters"]:
        for group in item.get("kmeans", {"clusters": []})["clusters"]:
            ids |= {*group["central_ids"], *group["borderline_ids"]}
    foreign: dict[str, NDArray[np.uint8]] = {}
    by_name = {item.name: item for item in sets}
    if found["duplicates"]:
        shown = found["duplicates"]["shown"]
        ids |= {pair[side] for pairs in shown.values() for pair in pairs for side in ("a", "b")}
    if found["anomalies"]:
        for details in found["anomalies"]["details"].values():
            for name, scores in details["ood"].items():
                for row in scores.values():
                    for extreme in row["most"] + row["least"]:
                        if extreme["set"] == "in":
                            ids.add(extreme["id"])
                        elif name in by_name:
                            foreign[f"{name}:{extreme['id']}"] = by_name[name].items.images[extreme["row"]]
    return ids, foreign
