"""One Parquet table per embedding, as the single commands write it: the columns of every use, for the test images.

Near-duplicates stand for all images, as test images may have theirs in train. Neighbours and scores are read off lists
that evaluation or another use has found already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nearkin.anomalies.detectors import K_MEAN, K_NORM, kth_unit_distance, mean_distance
from nearkin.embeddings import Embeddings
from nearkin.embeddings.table import add_columns, neighbors_column, on_rows
from nearkin.fileio import json_digest, read_json, write_json
from nearkin.retrieval.hubs import K, occurrence
from nearkin.runs.run import FinishedRun, first_seed
from nearkin.system import return_memory

_VERSION = 1
_LEAST = 2  # images that can have a neighbour


def table_uses(
    study: Path,
    runs: list[FinishedRun],
    clusters: dict[str, list[int]],
    duplicates: list[list[int]] | None,
    say: Callable[[str], None],
) -> dict[str, str]:
    """Write uses/tables/RUN.parquet for every method's first run, unless it is there; run -> path within the study.

    Args:
        clusters: run -> the cluster of each test image. duplicates: rows of images that show the same; None: unknown.
    """
    folder = study / "uses" / "tables"
    shared = json_digest({"duplicates": duplicates})
    out = {}
    for run in first_seed(runs):
        path, beside = folder / f"{run.folder.name}.parquet", folder / f"{run.folder.name}.json"
        own = clusters.get(run.folder.name)
        key = hashlib.sha256(f"{_VERSION} {run.digest} {shared} {json_digest({'own': own})}".encode()).hexdigest()[:32]
        if not path.exists() or not beside.exists() or read_json(beside) != {"key": key}:
            made = run.embeddings()
            columns = _columns(made, run, own, duplicates)
            if not columns:
                continue
            say(f"  table of {run.title}")
            path.unlink(missing_ok=True)  # the columns of other neighbours would stay
            add_columns(path, made, columns)
            write_json(beside, {"key": key})
            del made, columns  # or they lie beside the next run's
            return_memory()
        out[run.folder.name] = path.relative_to(study).as_posix()
    return out


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
        found = run.search(test, test, min(K, len(rows) - 1), exclude_self=True)
        out["neighbors"] = neighbors_column(found, rows, n)
        out["hubness"] = on_rows(occurrence(found.indices, len(rows)), rows, n)
    return out


def _on_map(made: Embeddings, run: FinishedRun) -> dict[str, NDArray[Any] | pa.Array]:
    """x and y of the images on the t-SNE map that the evaluation drew; nothing without one."""
    path = run.folder / "maps.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        if f"{run.layer}/tsne" not in arrays.files:
            return {}
        coords, ids = arrays[f"{run.layer}/tsne"], arrays[f"{run.layer}/ids"]
    if not np.ptp(coords):  # none was drawn
        return {}
    where = {str(name): k for k, name in enumerate(made.ids)}
    rows = np.array([where[str(name)] for name in ids], dtype=np.int64)
    return {axis: on_rows(coords[:, k], rows, len(made)) for k, axis in enumerate("xy")}
