"""The uses of a study's embeddings, run by run, and the table of each embedding that they fill."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearkin.anomalies.detectors import K_MEAN, K_NORM, kth_unit_distance, mean_distance
from nearkin.anomalies.ood_sets import OodSet, foreign_sets
from nearkin.anomalies.study_step import AnomalyStep
from nearkin.clusters.study_step import cluster_use
from nearkin.data import Splits
from nearkin.duplicates.study_step import duplicate_use, duplicates_run
from nearkin.embeddings import Embeddings
from nearkin.embeddings.table import add_columns, neighbors_column, on_rows
from nearkin.fileio import json_digest, read_json, to_json, write_json
from nearkin.retrieval.hubs import K, occurrence
from nearkin.retrieval.study_step import PixelBaseline, neighbour_use, pixel_baseline
from nearkin.runs.run import FinishedRun, Study, first_seed
from nearkin.system import return_memory
from nearkin.vectors import sample_rows

_BACKGROUNDS = 5000
_TABLE_VERSION = 1
_LEAST = 2  # images that can have a neighbour
Say = Callable[[str], None]


def load_ood(sources: Sequence[str], splits: Splits, progress: bool) -> list[OodSet]:
    """Out-of-distribution images at the study's size; gray ones (digits) also in variants without shortcuts.

    Raises:
        DataError: what :func:`nearkin.data.load` raises.
    """
    pick = sample_rows(len(splits.train), _BACKGROUNDS)
    size, backgrounds = int(splits.train.images.shape[-1]), splits.train.images[pick]
    return foreign_sets(sources, size, backgrounds=backgrounds, unseen=splits.val.images, progress=progress)


def run_uses(
    study: Study,
    runs: list[FinishedRun],
    splits: Splits,
    sets: list[OodSet],
    device: str,
    say: Say,
) -> dict[str, Any]:
    """Compute what is missing, write uses.json and the tables, and return what uses.json holds.

    All uses of one run follow each other: its embedding is read once, and no two embeddings are in memory together.

    Args:
        runs: all finished ones. sets: out-of-distribution images.
    """
    first = first_seed(runs)
    anomalies = AnomalyStep(study, runs, splits, sets, device, say)
    finder = duplicates_run(first, splits)
    duplicates: dict[str, Any] | None = None
    connected: list[list[int]] | None = None
    clusters: dict[str, dict[str, Any]] = {}
    neighbours: dict[str, dict[str, Any]] = {}
    tables: dict[str, str] = {}

    @functools.cache
    def baseline() -> PixelBaseline:
        labelled = any(part.labels is not None for part in (splits.train, splits.val, splits.test))
        return pixel_baseline(splits.test, splits.test.known_labels() if labelled else None)

    # Every table holds the sets of near-duplicates, so the run that finds them comes first.
    for run in sorted(dict.fromkeys([*first, *anomalies.runs]), key=lambda run: run != finder):
        load = functools.cache(run.embeddings)
        return_memory()  # here and below: memory that a step freed would add to what the next one needs
        assigned = None
        if run in first:
            if (clustered := cluster_use(study, run, load, say)) is not None:
                assigned = clustered.pop("assigned", None)
                clusters[run.name] = clustered
                return_memory()
            if run == finder:
                duplicates = duplicate_use(study, run, load, splits, say)
                connected = duplicates.pop("sets")
                return_memory()
            if (near := neighbour_use(study, run, load, splits.test, baseline, say)) is not None:
                neighbours[run.name] = near
                return_memory()
        if run in anomalies.runs:
            anomalies.evaluate(run, load)
            return_memory()
        if run in first and (table := _table(study, run, load, assigned, connected, say)):
            tables[run.name] = table
    names = [run.name for run in first]
    uses = {
        "neighbours": [neighbours[name] for name in names if name in neighbours],
        "clusters": [clusters[name] for name in names if name in clusters],
        "duplicates": duplicates,
        "anomalies": to_json(anomalies.table()),
        "tables": {name: tables[name] for name in names if name in tables},
    }
    write_json(study.uses_file, uses)
    return uses


# One Parquet table per embedding, as the single commands write it: the columns of every use, for the test images.
# Near-duplicates stand for all images, as test images may have theirs in train. Neighbours and scores are read off lists
# that evaluation or another use has found already.


def _table(
    study: Study,
    run: FinishedRun,
    load: Callable[[], Embeddings],
    clusters: list[int] | None,
    duplicates: list[list[int]] | None,
    say: Say,
) -> str | None:
    """Write uses/tables/RUN.parquet, unless it is there; its path within the study. None: there is nothing to write.

    Args:
        clusters: the cluster of each test image. duplicates: rows of images that show the same. None: unknown.
    """
    beside = study.use_file("tables", run.name)
    path = beside.with_suffix(".parquet")
    made_of = f"{run.digest} {json_digest({'duplicates': duplicates})} {json_digest({'own': clusters})}"
    key = hashlib.sha256(f"{_TABLE_VERSION} {made_of}".encode()).hexdigest()[:32]
    if not path.exists() or not beside.exists() or read_json(beside) != {"key": key}:
        columns = _columns(load(), run, clusters, duplicates)
        if not columns:
            return None
        say(f"  table of {run.title}")
        path.unlink(missing_ok=True)  # the columns of other neighbours would stay
        add_columns(path, load(), columns)
        write_json(beside, {"key": key})
    return path.relative_to(study.folder).as_posix()


def _columns(
    made: Embeddings, run: FinishedRun, clusters: list[int] | None, duplicates: list[list[int]] | None
) -> dict[str, NDArray[Any] | pa.Array]:
    n, rows = len(made), np.flatnonzero(made.split == "test")
    test, train = made.Z[rows], made.Z[made.split == "train"]
    out: dict[str, NDArray[Any] | pa.Array] = _on_map(made, run)
    if clusters is not None:
        out["cluster"] = on_rows(np.array(clusters, dtype=np.int64), rows, n)
    if min(len(train), len(rows)) >= _LEAST:
        near, normed = run.search(test, train, K_MEAN, metric="l2"), run.search(test, train, min(K_NORM, len(train)))
        out["anomaly_score"] = on_rows(mean_distance(near), rows, n)
        out["anomaly_score_knn-norm"] = on_rows(kth_unit_distance(normed, normed.indices.shape[1]), rows, n)
    if duplicates is not None:
        out["near_duplicate_set"] = np.full(n, -1, dtype=np.int64)
        for number, members in enumerate(duplicates):
            out["near_duplicate_set"][members] = number
    if len(rows) >= _LEAST:
        nearest = run.search(test, test, min(K, len(rows) - 1), exclude_self=True)
        out["neighbors"] = neighbors_column(nearest, rows, n)
        out["hubness"] = on_rows(occurrence(nearest.indices, len(rows)), rows, n)
    return out


def _on_map(made: Embeddings, run: FinishedRun) -> dict[str, NDArray[Any] | pa.Array]:
    """x and y of the images on the t-SNE map that the evaluation drew; nothing without one."""
    drawn = run.map(run.layer, "tsne")
    if drawn is None or not np.ptp(drawn[1]):  # no map was drawn
        return {}
    ids, coords = drawn
    where = {str(name): k for k, name in enumerate(made.ids)}
    rows = np.array([where[str(name)] for name in ids], dtype=np.int64)
    return {axis: on_rows(coords[:, k], rows, len(made)) for k, axis in enumerate("xy")}
