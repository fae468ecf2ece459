"""Near-duplicates of test images in train and within test, and what the probe reads without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data import Splits
from nearkin.duplicates.find import duplicate_free_rows, find_duplicates
from nearkin.duplicates.grouping import components
from nearkin.duplicates.lookalikes import Lookalikes, explain, lookalikes_far_apart
from nearkin.duplicates.pairs import Duplicates
from nearkin.embeddings import Embeddings
from nearkin.evaluate.knn import Labelled
from nearkin.evaluate.linear import linear_probe
from nearkin.evaluate.stats import wilson
from nearkin.fileio import read_object, write_json
from nearkin.runs.finished import FinishedRun, first_seed
from nearkin.search.exact import Neighbors, Search, merged

_PREFERRED = ("vicreg", "ngn")
_VERSION = 3  # of what is saved
_SHOWN, _SHOWN_APART = 24, 12
_LEAST = 60  # images below which nothing can be calibrated


def duplicate_uses(
    study: Path, runs: list[FinishedRun], splits: Splits, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """JSON-able: "across" (test in train and val), "within" (test), pairs to show, "sets" of rows that are connected by
    pairs, look-alikes that the embedding parts, the probe before and after.

    Calibrated on planted copies by pixels alone, so no model is needed. Saved in uses/duplicates.json.
    """
    by_name = {run.method: run for run in first_seed(runs)}
    run = next((by_name[name] for name in _PREFERRED if name in by_name), None)
    if run is None or min(len(splits.train), len(splits.test)) < _LEAST:
        return None
    path = study / "uses" / "duplicates.json"
    if path.exists():
        found = read_object(path)
        if found.get("key") == _key(run):
            return found
    say(f"  near-duplicates by {run.title}")
    made = run.embeddings()
    test = made.part("test")
    known = np.flatnonzero(made.split != "test")
    base = made.take(known)  # train, then val, as the study stored them
    base_images = np.concatenate([splits.train.images, splits.val.images])
    test_images = np.asarray(splits.test.images)
    find = _by_parts(run.find, int((base.split == "train").sum()))
    across = find_duplicates(test.Z, test_images, base=base.Z, base_images=base_images, find=find)
    within = find_duplicates(test.Z, test_images, find=run.find)
    rows = duplicate_free_rows(len(test), across, within)
    parted = lookalikes_far_apart(test_images, test.Z, count=_SHOWN_APART)
    low, high = wilson(len(across.rows()), len(test))
    found = {
        "key": _key(run),
        "title": run.title,
        "layer": run.layer,
        "across": across.to_dict() | {"interval": [low, high]},
        "within": within.to_dict(),
        "shown": {
            "across": _pairs(across, test, base),
            "within": _pairs(within, test, test),
            "apart": _apart(parted, test),
        },
        "apart": explain(parted, test.labels),
        "left": len(rows),
        "sets": _sets(made, known, across, within),
        "probe": _probe(made, rows, run.accuracy),
    }
    write_json(path, found)
    return found


def _key(run: FinishedRun) -> str:
    return f"{_VERSION} {run.digest}"


def _by_parts(find: Search, first: int) -> Search:
    """A search of a base by its first rows and the rest, each by ``find``, which may have been asked for one of them."""

    def search(
        queries: NDArray[np.float32],
        base: NDArray[np.float32],
        k: int,
        *,
        metric: str = "cosine",
        exclude_self: bool = False,
        own: NDArray[np.int64] | None = None,
    ) -> Neighbors:
        if exclude_self or own is not None or not 0 < first < len(base):
            return find(queries, base, k, metric=metric, exclude_self=exclude_self, own=own)
        near = find(queries, base[:first], min(k, first), metric=metric)
        rest = find(queries, base[first:], min(k, len(base) - first), metric=metric)
        return merged([near, Neighbors(rest.distances, rest.indices + first)], k)

    return search


def _sets(made: Embeddings, known: NDArray[np.int64], across: Duplicates, within: Duplicates) -> list[list[int]]:
    """Rows of all images, ascending, that pairs of either search connect."""
    test = np.flatnonzero(made.split == "test")
    a = np.concatenate([test[across.pairs.a], test[within.pairs.a]])
    b = np.concatenate([known[across.pairs.b], test[within.pairs.b]])
    group = components(len(made), a, b)
    return [np.flatnonzero(group == number).tolist() for number in range(int(group.max(initial=-1)) + 1)]


def _apart(found: Lookalikes, test: Embeddings) -> list[dict[str, Any]]:
    """The pairs alike in pixels that the embedding puts farthest apart."""
    names = ("percentile", "distance", "pixels", "detail")
    return [
        {"a": str(test.ids[found.a[i]]), "b": str(test.ids[found.b[i]]), "rank": int(found.rank[i])}
        | {name: float(getattr(found, name)[i]) for name in names}
        for i in range(len(found.a))
    ]


def _pairs(found: Duplicates, asked: Embeddings, base: Embeddings) -> list[dict[str, Any]]:
    """A seeded choice of the pairs, best score first."""
    pairs = found.pairs
    pick = np.sort(np.random.default_rng(0).permutation(len(pairs))[:_SHOWN])
    return [
        {
            "a": str(asked.ids[pairs.a[i]]),
            "b": str(base.ids[pairs.b[i]]),
            "score": float(pairs.score[i]),
            "distance": float(pairs.distance[i]),
        }
        for i in pick
    ]


def _probe(made: Embeddings, rows: np.ndarray, before: float | None) -> dict[str, Any] | None:
    """Linear probe on the test images without duplicates, fitted as ever on train."""
    test = made.part("test").take(rows)
    parts: list[Labelled] = []
    for part in (made.part("train"), made.part("val"), test):
        if part.labels is None or not (part.labels >= 0).any():
            return None
        parts.append((part.Z[part.labels >= 0], part.labels[part.labels >= 0]))
    if before is None or len(made.classes) < 2:
        return None
    after = linear_probe(parts[0], parts[1], parts[2], len(made.classes))
    return {"before": before, "after": after.accuracy, "n": after.n, "interval": list(after.interval)}
