"""The pictures that a study's report shows, small and in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.data import Splits
from nearkin.fileio import read_json, write_npz

_SAMPLES_PER_CLASS = 8


def write_thumbnails(splits: Splits, out: Path, wanted: set[str], foreign: dict[str, NDArray[np.uint8]]) -> None:
    """Write thumbnails.npz: samples of each class, examples of entangled pairs, what the uses found.

    Args:
        wanted: ids of more images. foreign: images that are not of the set, by the name they shall have.
    """
    for path in sorted(out.glob("runs/*/evaluation.json")):
        evaluation = read_json(path)
        mixed = evaluation["layers"][evaluation["primary_layer"]].get("entanglement")
        for pair in mixed["pairs"] if mixed else []:
            for example in pair["examples"]:
                wanted |= {example["query"], example["neighbor"]}
    test = splits.test
    rng = np.random.default_rng(0)
    groups = test.labels if test.labels is not None else np.zeros(len(test), dtype=np.int64)
    samples = [rng.permutation(np.flatnonzero(groups == k))[:_SAMPLES_PER_CLASS] for k in np.unique(groups)]
    rows = np.unique(np.concatenate([*samples, np.flatnonzero(np.isin(test.ids, list(wanted)))]).astype(np.int64))
    known = {str(name): test.images[row] for name, row in zip(test.ids[rows], rows, strict=True)}
    for part in (splits.train, splits.val):
        found = np.flatnonzero(np.isin(part.ids, list(wanted)))
        known |= {str(name): part.images[row] for name, row in zip(part.ids[found], found, strict=True)}
    known |= foreign
    sample_rows = np.concatenate(samples)
    write_npz(
        out / "thumbnails.npz",
        {
            "ids": np.array(list(known), dtype=np.str_),
            "images": np.stack(list(known.values())),
            "sample_ids": test.ids[sample_rows],
            "sample_labels": groups[sample_rows],
        },
    )
