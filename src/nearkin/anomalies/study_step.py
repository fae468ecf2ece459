"""Anomalies: every method's first run (of VICReg and NGN every seed) against out-of-distribution images, beside scores that need no learning.

Without out-of-distribution images the table still holds what the set's own classes give: each held out, and each alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.detectors import K_LOF, K_NORM, OWN, TrainNeighbors
from nearkin.anomalies.ood_eval import TEST, OodEvaluation, evaluate_baselines, evaluate_vectors
from nearkin.anomalies.ood_sets import InSet, OodSet
from nearkin.anomalies.table import AnomalyTable, JudgedRun, compare
from nearkin.data import Splits
from nearkin.data.imageset import fingerprint
from nearkin.embeddings import Embeddings
from nearkin.errors import DamagedFile
from nearkin.evaluate.evaluation import MapScores
from nearkin.fileio import from_json, read_object, to_json, write_json
from nearkin.folders import StudyFolder
from nearkin.maps.maps import draw_maps
from nearkin.methods import method_info
from nearkin.runs.run import Embed, FinishedRun, first_seed
from nearkin.system import return_memory
from nearkin.vectors import sample_rows

SCORES = ("knn2", "knn-norm", "mahalanobis")
# Neighbours of all training images and a forest take longer than everything else: for the methods the study is about.
MORE_SCORES = ("iforest", "lof")
# Codes by test-time optimisation: minutes per thousand images, and the codes of strange images mean little.
SLOW = ("lo", "lo-naive")
_MAPPED = ("vicreg", "ngn")
_MAP_IMAGES = 2000
_VERSION = 4  # of what is saved
_LEAST = 60  # training images below which the scores have too few neighbours
NO_LEARNING = "no-learning"


class AnomalyStep:
    """Evaluate the runs of a study one by one, and then compare them. What is computed is saved in uses/anomalies.

    Attributes:
        runs: those to be evaluated, in the order of the table; none where no set is foreign and labels are missing.
    """

    def __init__(
        self,
        study: StudyFolder,
        runs: list[FinishedRun],
        splits: Splits,
        sets: list[OodSet],
        device: str,
        say: Callable[[str], None],
    ) -> None:
        labelled = splits.test.labels is not None and splits.train.labels is not None
        possible = len(splits.train) >= _LEAST and bool(sets or labelled)
        self._first = first_seed(runs)
        self.runs = _judged(runs, self._first, splits.test.images.shape[-1] if sets else None) if possible else []
        self._study, self._sets, self._device, self._say = study, sets, device, say
        self._inside = InSet(splits.train, splits.test)
        self._evaluations: dict[str, OodEvaluation] = {}

    def evaluate(self, run: FinishedRun, load: Callable[[], Embeddings]) -> None:
        """Evaluate one of :attr:`runs`. load: returns its embedding."""
        drawn = run.method in _MAPPED and run in self._first
        judge = partial(_judge, run, load, self._inside, self._sets, self._device, drawn)
        self._evaluations[run.name] = self._saved(run.name, run.title, run.digest, judge)

    def table(self) -> AnomalyTable | None:
        """The table of all runs, each of which has been evaluated, with "details" of each; None without runs."""
        if not self.runs:
            return None
        trivial = self._saved(
            NO_LEARNING, "scores that need no learning", "trivial", lambda: evaluate_baselines(self._inside, self._sets)
        )
        details = {run.name: self._evaluations[run.name] for run in self.runs}
        judged = [JudgedRun(run.method, run.seed, details[run.name], run.title, run.accuracy) for run in self.runs]
        return compare(judged, trivial, self._sets, details=details | {NO_LEARNING: trivial})

    def _saved(self, name: str, title: str, digest: str, evaluate: Callable[[], OodEvaluation]) -> OodEvaluation:
        """Read where it is there for these sets, else computed and written."""
        path, key = self._study.use_file("anomalies", name), _key(digest, self._sets)
        there = read_object(path, key=str, found=dict) if path.exists() else {"key": None}
        if there["key"] == key:
            try:
                evaluation = from_json(OodEvaluation, there["found"])
                # In the order of ``sets``, whatever it was when this was saved.
                return replace(evaluation, ood={item.name: evaluation.ood[item.name] for item in self._sets})
            except (KeyError, ValueError) as error:
                raise DamagedFile(path, str(error)) from error
        self._say(f"  anomalies by {title}")
        evaluation = evaluate()
        write_json(path, {"key": key, "found": to_json(evaluation)})
        return evaluation


def _key(digest: str, sets: list[OodSet]) -> str:
    """The same for the same sets, in whichever order they were named."""
    described = "".join(sorted(f"{item.name}:{fingerprint(item.items)};" for item in sets))
    return hashlib.sha256(f"{_VERSION} {digest} {described}".encode()).hexdigest()[:32]


def _judged(runs: list[FinishedRun], first: list[FinishedRun], side: int | None) -> list[FinishedRun]:
    """The first run of every method, then the other seeds of those whose seeds are compared.

    side: of the foreign images, where there are any: runs that saw the study's images at another one are left out.
    """
    more = [run for run in runs if run.method in _MAPPED and run not in first]
    asked = [run for run in (*first, *more) if run.method.split("@")[0] not in SLOW]
    return [run for run in asked if side is None or (method_info(run.method).encodes and run.image_size() == side)]


def _judge(
    run: FinishedRun,
    load: Callable[[], Embeddings],
    inside: InSet,
    sets: list[OodSet],
    device: str,
    drawn: bool,
) -> OodEvaluation:
    """Evaluate a run's vectors; ``drawn``: with more scores, curves, histograms, a joint map."""
    vectors: Mapping[str, NDArray[np.float32]] = {}
    if sets:
        embed = run.open(run.layer, device=device)
        vectors = _Embedded(sets, embed, keep={item.of for item in sets} if drawn else set())
    train, test = load().part("train", copy=False), load().part("test", copy=False)
    return_memory()
    neighbors = TrainNeighbors(train.Z)
    # The evaluation and the tables search the same lists.
    neighbors.add("l2", TEST, run.search(test.Z, train.Z, K_LOF, metric="l2"))
    neighbors.add("cosine", TEST, run.search(test.Z, train.Z, K_NORM))
    scores: tuple[str, ...] = SCORES
    if drawn:
        scores += MORE_SCORES
        neighbors.add("l2", OWN, run.search(train.Z, train.Z, K_LOF, metric="l2", exclude_self=True))
    return_memory()
    evaluation = evaluate_vectors(neighbors, test.Z, vectors, inside, sets, scores=scores, curves=drawn)
    del neighbors  # its indexes are as large as the vectors
    return_memory()
    if drawn and sets:
        # The test images, and what every source holds as it was loaded.
        shown = {"test": test.Z} | {name: vectors[name] for name in sorted({item.of for item in sets})}
        evaluation = replace(evaluation, map=to_json(joint_map(shown, most=_MAP_IMAGES)))
    return evaluation


class _Embedded(Mapping[str, NDArray[np.float32]]):
    """Vectors of foreign sets by name, embedded on request: the pixels of all sets would take a gigabyte.

    keep: sets whose vectors are asked for again.
    """

    def __init__(self, sets: Sequence[OodSet], embed: Embed, keep: set[str]) -> None:
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


# One map of in- and out-of-distribution images together


@dataclass(frozen=True)
class DrawnMap(MapScores):
    """A map with the coordinates of its points, rounded. purity: how many of the neighbours on it are of the same set."""

    x: tuple[float, ...] = field(kw_only=True)
    y: tuple[float, ...] = field(kw_only=True)


@dataclass(frozen=True)
class JointMap:
    """Attributes:
    names: of the sets. member: int64 (P,), index into ``names``. rows: int64 (P,), row within that set.
    maps: "pca" and "tsne".
    """

    names: tuple[str, ...]
    member: NDArray[np.int64]
    rows: NDArray[np.int64]
    maps: dict[str, DrawnMap]


def joint_map(sets: Mapping[str, NDArray[np.float32]], *, most: int = 2000, n_jobs: int = -1) -> JointMap:
    """PCA and t-SNE of several sets (N, D) drawn together, at most ``most`` images of each, a seeded choice."""
    rng = np.random.default_rng(0)
    rows = [sample_rows(len(Z), most, rng) for Z in sets.values()]
    member = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    Z = np.concatenate([values[r] for values, r in zip(sets.values(), rows, strict=True)])
    maps = {}
    for kind, made in draw_maps(Z, member, n_jobs=n_jobs).items():
        x, y = np.round(made.coords.T.astype(float), 3).tolist()
        maps[kind] = DrawnMap(**vars(made.scores), x=tuple(x), y=tuple(y))
    return JointMap(tuple(sets), member, np.concatenate(rows), maps)
