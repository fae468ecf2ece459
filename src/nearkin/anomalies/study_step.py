"""Anomalies: every method's first run (of VICReg and NGN every seed) against out-of-distribution images, beside scores that need no learning.

Without out-of-distribution images the table still holds what the set's own classes give: each held out, and each alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies import TEST, Entry, InSet, OodSet, joint_map, judge_embeddings, judge_trivial
from nearkin.anomalies.knn import K_NORM
from nearkin.anomalies.lof import K as K_LOF
from nearkin.anomalies.table import compare
from nearkin.anomalies.train_lists import OWN
from nearkin.data import Splits
from nearkin.data.imageset import fingerprint
from nearkin.embeddings import Embeddings
from nearkin.fileio import read_object, write_json
from nearkin.methods import method_info
from nearkin.runs.run import Embed, FinishedRun, first_seed
from nearkin.system import return_memory

SCORES = ("knn2", "knn-norm", "mahalanobis")
# Neighbours of all training images and a forest take longer than everything else: for the methods the study is about.
MORE_SCORES = ("iforest", "lof")
# Codes by test-time optimisation: minutes per thousand images, and the codes of strange images mean little.
SLOW = ("lo", "lo-naive")
_MAPPED = ("vicreg", "ngn")
_MAP_IMAGES = 2000
_VERSION = 4  # of what is saved
_LEAST = 60  # training images below which the scores have too few neighbours


def anomaly_uses(
    study: Path,
    runs: list[FinishedRun],
    splits: Splits,
    sets: list[OodSet],
    device: str,
    say: Callable[[str], None],
) -> dict[str, Any] | None:
    """The comparison of :func:`nearkin.anomalies.table`, with "details" per run and "maps". Saved in uses/anomalies."""
    labelled = splits.test.labels is not None and splits.train.labels is not None
    if len(splits.train) < _LEAST or not (sets or labelled):
        return None
    inside = InSet(splits.train, splits.test)
    folder = study / "uses" / "anomalies"
    entries: list[Entry] = []
    details: dict[str, Any] = {}
    first = first_seed(runs)
    for run in _judged(runs, first, bool(sets)):
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
        details[run.folder.name] = found = _in_order(saved["found"], sets)
        entries.append(Entry(run.method, run.seed, found, run.title, run.accuracy))
    if not entries:
        return None
    path = folder / "no-learning.json"
    key = _key("trivial", sets)
    trivial: dict[str, Any] = read_object(path, key=str, found=dict) if path.exists() else {"key": None}
    if trivial["key"] != key:
        say("  anomalies by scores that need no learning")
        trivial = {"key": key, "found": judge_trivial(inside, sets)}
        write_json(path, trivial)
    learned_nothing = _in_order(trivial["found"], sets)
    return compare(entries, learned_nothing, sets) | {"details": details | {"no-learning": learned_nothing}}


def _key(digest: str, sets: list[OodSet]) -> str:
    """The same for the same sets, in whichever order they were named."""
    described = "".join(sorted(f"{item.name}:{fingerprint(item.items)};" for item in sets))
    return hashlib.sha256(f"{_VERSION} {digest} {described}".encode()).hexdigest()[:32]


def _in_order(found: dict[str, Any], sets: list[OodSet]) -> dict[str, Any]:
    """With the sets in the order of ``sets``, whatever it was when this was saved."""
    return found | {"ood": {item.name: found["ood"][item.name] for item in sets}}


def _judged(runs: list[FinishedRun], first: list[FinishedRun], foreign: bool) -> list[FinishedRun]:
    """The first run of every method, then the other seeds of those whose seeds are compared."""
    more = [run for run in runs if run.method in _MAPPED and run not in first]
    asked = [run for run in (*first, *more) if run.method.split("@")[0] not in SLOW]
    return [run for run in asked if not foreign or method_info(run.method).encodes]


def _judge(run: FinishedRun, inside: InSet, sets: list[OodSet], device: str, *, drawn: bool) -> dict[str, Any]:
    """What :func:`nearkin.anomalies.judge_embeddings` finds; ``drawn``: with more scores, curves, histograms, a joint map."""
    made = run.embeddings()
    vectors: Mapping[str, NDArray[np.float32]] = {}
    if sets:
        embed = run.open(run.layer, device=device)
        vectors = _Embedded(sets, embed, keep={item.of for item in sets} if drawn else set())
    train, test = made.part("train", copy=False), made.part("test", copy=False)
    del made  # what was copied would be there twice
    return_memory()
    # What evaluation and the tables search, too.
    known = {
        ("l2", TEST): run.search(test.Z, train.Z, K_LOF, metric="l2"),
        ("cosine", TEST): run.search(test.Z, train.Z, K_NORM),
    }
    scores: tuple[str, ...] = SCORES
    if drawn:
        scores += MORE_SCORES
        known["l2", OWN] = run.search(train.Z, train.Z, K_LOF, metric="l2", exclude_self=True)
    return_memory()
    found = judge_embeddings(train.Z, test.Z, vectors, inside, sets, scores=scores, curves=drawn, known=known)
    return_memory()
    if drawn and sets:
        found["map"] = _map(test, vectors, sets)
    return found


class _Embedded(Mapping[str, NDArray[np.float32]]):
    """Vectors of foreign sets by name, embedded when they are asked for: pixels of all sets would be a gigabyte.

    keep: sets whose vectors are asked for again.
    """

    def __init__(self, sets: list[OodSet], embed: Embed, keep: set[str]) -> None:
        self._images, self._embed = {item.name: item.items.images for item in sets}, embed
        self._keep, self._kept = keep, dict[str, NDArray[np.float32]]()

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        if name in self._kept:
            return self._kept[name]
        made = self._embed(self._images[name])
        if name in self._keep:
            self._kept[name] = made
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._images

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def _map(test: Embeddings, vectors: Mapping[str, NDArray[np.float32]], sets: list[OodSet]) -> dict[str, Any]:
    """A joint map of the test images and what every source holds as it was loaded."""
    sources = sorted({item.of for item in sets})
    return joint_map({"test": test.Z} | {name: vectors[name] for name in sources}, most=_MAP_IMAGES).to_dict()
