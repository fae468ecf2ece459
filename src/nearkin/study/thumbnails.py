"""The pictures that a study's report shows, small and in one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.ood_sets import OodSet
from nearkin.data import Splits
from nearkin.fileio import write_npz
from nearkin.folders import StudyFolder
from nearkin.retrieval.study_step import wanted_ids
from nearkin.runs.run import FinishedRun
from nearkin.vectors import sample_rows

_SAMPLES_PER_CLASS = 8


def write_thumbnails(
    study: StudyFolder, runs: Sequence[FinishedRun], splits: Splits, uses: dict[str, Any], sets: Sequence[OodSet]
) -> None:
    """Write thumbnails.npz: samples of each class, examples of entangled pairs, and the images that the uses name.

    Args:
        uses: what uses.json holds. sets: out-of-distribution images; those shown are called SET:ID.
    """
    wanted, foreign = _shown(uses, sets)
    for run in runs:
        mixed = run.evaluation.primary.entanglement
        for pair in mixed.pairs if mixed else ():
            for example in pair.examples:
                wanted |= {example.query, example.neighbor}
    test = splits.test
    rng = np.random.default_rng(0)
    groups = test.labels if test.labels is not None else np.zeros(len(test), dtype=np.int64)
    samples = [
        sample_rows(np.flatnonzero(groups == k), _SAMPLES_PER_CLASS, rng, shuffled=True) for k in np.unique(groups)
    ]
    rows = np.unique(np.concatenate([*samples, np.flatnonzero(np.isin(test.ids, list(wanted)))]).astype(np.int64))
    known = {str(name): test.images[row] for name, row in zip(test.ids[rows], rows, strict=True)}
    for part in (splits.train, splits.val):
        shown = np.flatnonzero(np.isin(part.ids, list(wanted)))
        known |= {str(name): part.images[row] for name, row in zip(part.ids[shown], shown, strict=True)}
    known |= foreign
    drawn = np.concatenate(samples)
    write_npz(
        study.thumbnails_file,
        {
            "ids": np.array(list(known), dtype=np.str_),
            "images": np.stack(list(known.values())),
            "sample_ids": test.ids[drawn],
            "sample_labels": groups[drawn],
        },
    )


def _shown(uses: dict[str, Any], sets: Sequence[OodSet]) -> tuple[set[str], dict[str, NDArray[np.uint8]]]:
    """Ids of the study's images that the report shows, and foreign images by "SET:ID"."""
    ids = wanted_ids(uses["neighbours"])
    for item in uses["clusters"]:
        for group in item.get("kmeans", {"clusters": []})["clusters"]:
            ids |= {*group["central_ids"], *group["borderline_ids"]}
    foreign: dict[str, NDArray[np.uint8]] = {}
    by_name = {item.name: item for item in sets}
    if uses["duplicates"]:
        shown = uses["duplicates"]["shown"]
        ids |= {pair[side] for pairs in shown.values() for pair in pairs for side in ("a", "b")}
    if uses["anomalies"]:
        for details in uses["anomalies"]["details"].values():
            for name, scores in details["ood"].items():
                for row in scores.values():
                    for extreme in row["most"] + row["least"]:
                        if extreme["set"] == "in":
                            ids.add(extreme["id"])
                        elif name in by_name:
                            foreign[f"{name}:{extreme['id']}"] = by_name[name].items.images[extreme["row"]]
    return ids, foreign
