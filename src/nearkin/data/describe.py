"""What a data set holds, for ``nearkin data info`` and the report."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np

from nearkin.data.imageset import Dataset, ImageSet

_TOLD = 5  # skipped files that are named


def _counts(items: ImageSet) -> dict[str, int] | None:
    if items.labels is None:
        return None
    found = Counter(items.labels.tolist())
    out = {name: found.get(k, 0) for k, name in enumerate(items.classes)}
    if found.get(-1):
        out["(no label)"] = found[-1]
    return out


def remarks(dataset: Dataset) -> list[str]:
    """What a user should be told before anything is computed: how the set was read, and the first skipped files."""
    out = [*dataset.notes, *(f"skipped {item.path}: {item.reason}" for item in dataset.skipped[:_TOLD])]
    if len(dataset.skipped) > _TOLD:
        out.append(f"{len(dataset.skipped) - _TOLD} more files skipped; 'nearkin data info' lists all")
    return out


def describe(dataset: Dataset) -> dict[str, Any]:
    """A JSON-able description: sizes, classes, exact duplicates, channel statistics, skipped files, notes."""
    sets = {"train": dataset.train} | ({"test": dataset.test} if dataset.test is not None else {})
    digests = {
        name: [hashlib.md5(np.ascontiguousarray(im).data).digest() for im in s.images] for name, s in sets.items()
    }
    shared = len(set(digests["train"]) & set(digests.get("test", [])))
    sample = dataset.train.images[np.sort(np.random.default_rng(0).permutation(len(dataset.train))[:5000])] / 255.0
    return {
        "name": dataset.name,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "image_shape": list(dataset.train.images.shape[1:]),
        "classes": list(dataset.train.classes),
        "splits": {
            name: {"images": len(s), "per_class": _counts(s), "exact_duplicates": len(s) - len(set(digests[name]))}
            for name, s in sets.items()
        },
        "exact_duplicates_across_splits": shared,
        "channel_mean": sample.mean(axis=(0, 2, 3)).round(4).tolist(),
        "channel_std": sample.std(axis=(0, 2, 3)).round(4).tolist(),
        "factors": sorted(dataset.train.factors),
        "skipped": [{"path": item.path, "reason": item.reason} for item in dataset.skipped],
        "notes": list(dataset.notes),
    }
