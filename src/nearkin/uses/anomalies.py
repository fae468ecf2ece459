"""Anomalies: every method's first run (of VICReg and NGN every seed) against out-of-distribution images, beside scores that need no learning.

Without out-of-distribution images the table still holds what the set's own classes give: each held out, and each alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies import Entry, InSet, OodSet, compare, joint_map, judge_embeddings, judge_trivial
from nearkin.atomic import read_object, write_json
from nearkin.data import Splits
from nearkin.data.fingerprint import fingerprint
from nearkin.embedder import embedder
from nearkin.embeddings import Embeddings
from nearkin.uses.runs import FinishedRun, first_seed

SCORES = ("knn2", "knn-norm", "mahalanobis")
# Codes by test-time optimisation: minutes per thousand images, and the codes of strange images mean little.
SLOW = ("lo", "lo-naive")
_MAPPED = ("vicreg", "ngn")
_MAP_IMAGES = 2000
_VERSION = 3  # of what is saved
_LEAST = 60  # training images below which the scores have too few neighbours


def anomaly_uses(
    study: Path,
    runs: list[FinishedRun],
    splits: Splits,
    sets: list[OodSet],
    device: str,
    say: Callable[[str], None],
) -> dict[str, Any] | None:
    """The comparison of :func:`nearkin.anomalies.compare`, with "details" per run and "maps". Saved in uses/anomalies."""
    labelled = splits.test.labels is not None and splits.train.labels is not None
    if len(splits.train) < _LEAST or not (sets or labelled):
        return None
    inside = InSet(splits.train, splits.test)
    folder = study / "uses" / "anomalies"
    entries: list[Entry] = []
    details: dict[str, Any] = {}
    first = first_seed(runs)
    for run in _judged(runs, first):
        key = _key(run.digest, sets)
        path = folder / f"{run.folder.name}.json"
        saved: dict[str, Any] = read_object(path, key=str, found=dict) if path.exists() else {"key": None}
        if saved["key"] != key:
            say(f"  anomalies by {run.title}")
            saved = {
                "key": key,
                "found": _judge(run, inside, sets, device, drawn=run.method in _MAPPED and run in first),
            }
            write_json(path, saved)
        details[run.folder.name] = saved["found"]
        entries.append(Entry(run.method, run.seed, saved["found"], run.title, run.accuracy))
    if not entries:
        return None
    path = folder / "no-learning.json"
    key = _key("trivial", sets)
    trivial: dict[str, Any] = read_object(path, key=str, found=dict) if path.exists() else {"key": None}
    if trivial["key"] != key:
        say("  anomalies by scores that need no learning")
        trivial = {"key": key, "found": judge_trivial(inside, sets)}
        write_json(path, trivial)
    table = compare(entries, trivial["found"], sets)
    return table | {"details": details | {"no-learning": trivial["found"]}}


def _key(digest: str, sets: list[OodSet]) -> str:
    described = "".join(f"{item.name}:{fingerprint(item.items)};" for item in sets)
    return hashlib.sha256(f"{_VERSION} {digest} {described}".encode()).hexdigest()[:32]


def _judged(runs: list[FinishedRun], first: list[FinishedRun]) -> list[FinishedRun]:
    """The first run of every method, then the other seeds of those whose seeds are compared."""
    more = [run for run in runs if run.method in _MAPPED and run not in first]
    return [run for run in (*first, *more) if run.method not in SLOW]


def _judge(run: FinishedRun, inside: InSet, sets: list[OodSet], device: str, *, drawn: bool) -> dict[str, Any]:
    """What :func:`nearkin.anomalies.judge_embeddings` finds; ``drawn``: with curves, histograms and a joint map."""
    made = run.embeddings()
    vectors: dict[str, NDArray[np.float32]] = {}
    if sets:
        embed = embedder(run.folder, inside.train.images.shape[1:], layer=run.layer, device=device)
        vectors = {item.name: embed(item.items.images) for item in sets}
    train, test = made.part("train"), made.part("test")
    found = judge_embeddings(train.Z, test.Z, vectors, inside, sets, scores=SCORES, curves=drawn)
    if drawn and sets:
        found["map"] = _map(test, vectors, sets)
    return found


def _map(test: Embeddings, vectors: dict[str, NDArray[np.float32]], sets: list[OodSet]) -> dict[str, Any]:
    """A joint map of the test images and the first foreign set."""
    name = sets[0].name
    return joint_map({"test": test.Z, name: vectors[name]}, most=_MAP_IMAGES).to_dict()
