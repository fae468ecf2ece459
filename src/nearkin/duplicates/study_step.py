"""Near-duplicates of test images in train and within test, and what the probe reads without them: a step of a study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data import Splits
from nearkin.duplicates.find import NearDuplicates, connected_sets, duplicate_free_rows, near_duplicates
from nearkin.duplicates.lookalikes import Lookalikes, explain, lookalikes_far_apart
from nearkin.embeddings import Embeddings
from nearkin.evaluate.knn import Labelled
from nearkin.evaluate.linear import linear_probe
from nearkin.evaluate.stats import wilson
from nearkin.fileio import to_json
from nearkin.folders import StudyFolder
from nearkin.runs.run import FinishedRun, saved_result
from nearkin.search.exact import KnnSearch, Neighbors, merged
from nearkin.vectors import sample_rows

_PREFERRED = ("vicreg", "ngn")
_VERSION = 3  # of what is saved
_SHOWN, _SHOWN_APART = 24, 12
_LEAST = 60  # images below which nothing can be calibrated


@dataclass(frozen=True)
class ProbeWithoutDuplicates:
    """Accuracy of the linear probe on all test images, and on the n that are left without duplicates, with interval."""

    before: float
    after: float
    n: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class StudyDuplicates:
    """Attributes:
    across: test images in train and val. within: test images in test. test, base: their embeddings.
    left: test images without duplicates, of each set within test all but one left out.
    sets: rows of all images of the study, ascending, that pairs connect.
    lookalikes: pairs of test images alike in pixels and far apart in the embedding. probe: None without labels.
    """

    across: NearDuplicates
    within: NearDuplicates
    test: Embeddings
    base: Embeddings
    left: int
    sets: list[NDArray[np.int64]]
    lookalikes: Lookalikes
    probe: ProbeWithoutDuplicates | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; of pairs a seeded choice."""
        interval = list(wilson(len(self.across.rows), len(self.test)))
        return {
            "across": self.across.to_dict() | {"interval": interval},
            "within": self.within.to_dict(),
            "shown": {
                "across": _shown(self.across, self.test, self.base),
                "within": _shown(self.within, self.test, self.test),
                "apart": _shown_apart(self.lookalikes, self.test),
            },
            "apart": explain(self.lookalikes, self.test.labels),
            "left": self.left,
            "sets": to_json(self.sets),
            "probe": to_json(self.probe),
        }


def duplicates_run(runs: list[FinishedRun], splits: Splits) -> FinishedRun | None:
    """The run whose embedding finds candidates, of one per method; None where no run or too few images are there."""
    by_name = {run.method: run for run in runs}
    if min(len(splits.train), len(splits.test)) < _LEAST:
        return None
    return next((by_name[name] for name in _PREFERRED if name in by_name), None)


def duplicate_use(
    study: StudyFolder, run: FinishedRun, load: Callable[[], Embeddings], splits: Splits, say: Callable[[str], None]
) -> dict[str, Any]:
    """:class:`StudyDuplicates` by one run of the study, as JSON. Saved in uses/duplicates.json.

    Args:
        load: returns the run's embedding.
    """

    def make() -> dict[str, Any]:
        say(f"  near-duplicates by {run.title}")
        step = study_duplicates(load(), splits, run.search, run.accuracy)
        return {"title": run.title, "layer": run.layer, **step.to_dict()}

    saved = saved_result(study.use_file("duplicates"), f"{_VERSION} {run.digest}", make)
    assert saved is not None
    return saved


def study_duplicates(
    embeddings: Embeddings, splits: Splits, search: KnnSearch, accuracy: float | None
) -> StudyDuplicates:
    """Near-duplicates of the test images, calibrated on planted copies by pixels alone: no model is needed.

    Args:
        embeddings: of all images of the study: train, then val, and test in the order of ``splits``.
        search: what finds neighbours, such as one that keeps what it has found. accuracy: of the linear probe on test.
    """
    test = embeddings.part("test")
    known = np.flatnonzero(embeddings.split != "test")
    base = embeddings.take(known)
    base_images = np.concatenate([splits.train.images, splits.val.images])
    test_images = np.asarray(splits.test.images)
    by_parts = _by_parts(search, int((base.split == "train").sum()))
    across = near_duplicates(test, test_images, base=base, base_images=base_images, turned=False, search=by_parts)
    within = near_duplicates(test, test_images, turned=False, search=search)
    rows = duplicate_free_rows(len(test), across, within)
    in_test = np.flatnonzero(embeddings.split == "test")
    a = np.concatenate([in_test[across.pairs.a], in_test[within.pairs.a]])
    b = np.concatenate([known[across.pairs.b], in_test[within.pairs.b]])
    return StudyDuplicates(
        across,
        within,
        test,
        base,
        len(rows),
        connected_sets(len(embeddings), a, b),
        lookalikes_far_apart(test_images, test.Z, count=_SHOWN_APART),
        _probe(embeddings, rows, accuracy),
    )


def _by_parts(search: KnnSearch, first: int) -> KnnSearch:
    """Search a base by its first rows and the rest, each with ``search``, which may have been asked for one of them."""

    def in_two_parts(
        queries: NDArray[np.float32],
        base: NDArray[np.float32],
        k: int,
        *,
        metric: str = "cosine",
        exclude_self: bool = False,
        own: NDArray[np.int64] | None = None,
    ) -> Neighbors:
        if exclude_self or own is not None or not 0 < first < len(base):
            return search(queries, base, k, metric=metric, exclude_self=exclude_self, own=own)
        near = search(queries, base[:first], min(k, first), metric=metric)
        rest = search(queries, base[first:], min(k, len(base) - first), metric=metric)
        return merged([near, Neighbors(rest.distances, rest.indices + first)], k)

    return in_two_parts


def _probe(embeddings: Embeddings, rows: NDArray[np.int64], accuracy: float | None) -> ProbeWithoutDuplicates | None:
    """Linear probe on these test images, fitted on train as ever."""
    test = embeddings.part("test").take(rows)
    parts: list[Labelled] = []
    for part in (embeddings.part("train"), embeddings.part("val"), test):
        if part.labels is None or not part.labelled:
            return None
        parts.append((part.Z[part.labels >= 0], part.labels[part.labels >= 0]))
    if accuracy is None or len(embeddings.classes) < 2:
        return None
    after = linear_probe(parts[0], parts[1], parts[2], len(embeddings.classes))
    return ProbeWithoutDuplicates(accuracy, after.accuracy, after.n, after.interval)


def _shown(duplicates: NearDuplicates, asked: Embeddings, base: Embeddings) -> list[dict[str, Any]]:
    """A seeded choice of the pairs, best score first."""
    pairs = duplicates.pairs
    pick = sample_rows(len(pairs), _SHOWN)
    return [
        {
            "a": str(asked.ids[pairs.a[i]]),
            "b": str(base.ids[pairs.b[i]]),
            "score": float(pairs.score[i]),
            "distance": float(pairs.distance[i]),
        }
        for i in pick
    ]


def _shown_apart(alike: Lookalikes, test: Embeddings) -> list[dict[str, Any]]:
    """The pairs alike in pixels that the embedding puts farthest apart."""
    names = ("percentile", "distance", "pixels", "detail")
    return [
        {"a": str(test.ids[alike.a[i]]), "b": str(test.ids[alike.b[i]]), "rank": int(alike.rank[i])}
        | {name: float(getattr(alike, name)[i]) for name in names}
        for i in range(len(alike.a))
    ]
