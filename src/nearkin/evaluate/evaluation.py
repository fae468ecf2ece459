"""The results of an evaluation: scores of a layer, of a run, and their names for people. Saved as evaluation.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DamagedFile
from nearkin.evaluate.entanglement import Entanglement
from nearkin.evaluate.health import Health
from nearkin.evaluate.stats import WILSON, Interval, wilson
from nearkin.fileio import IF_ANY, MERGED, from_json, read_json


@dataclass(frozen=True)
class Score:
    """A probe's accuracy with what is needed to trust it.

    Attributes:
        accuracy: on n test images, in [0, 1]. interval: 95 %, made as interval_kind says.
        protocol: how the probe was fitted, in words.
        chosen: what was chosen on validation and how well it did there: "C", "k", "val_accuracy", "converged".
    """

    accuracy: float
    n: int
    interval: Interval
    interval_kind: str
    protocol: str
    chosen: dict[str, Any] = field(default_factory=dict, metadata=MERGED)

    @property
    def converged(self) -> bool:
        """Whether the fit converged; True for probes that need not."""
        return bool(self.chosen.get("converged", True))


def score(predicted: NDArray[np.int64], labels: NDArray[np.int64], protocol: str, **chosen: float) -> Score:
    """Compare predictions with labels, both int64 (n,)."""
    hits = int((predicted == labels).sum())
    return Score(hits / len(labels), len(labels), wilson(hits, len(labels)), WILSON, protocol, chosen)


@dataclass(frozen=True)
class ClusterScores:
    """How good a clustering is, alone and against classes.

    Attributes:
        k: number of clusters. silhouette: of the clusters, in [-1, 1] (at most 5,000 images, L2); None where undefined.
        class_silhouette, nmi, ari, accuracy (best one-to-one matching): against classes; None without labels.
    """

    k: int
    silhouette: float | None
    class_silhouette: float | None
    nmi: float | None
    ari: float | None
    accuracy: float | None


@dataclass(frozen=True)
class MapScores:
    """How much of its embedding a two-dimensional map preserves.

    Attributes:
        explained: share of variance per axis (PCA only).
        trustworthiness: Venna and Kaski (2001), k = 15, in [0, 1]: are neighbours on the map real?
        preservation: mean share of the 15 nearest neighbours that stay so on the map, in [0, 1].
        purity: share of the 10 nearest on the map with the same label; None without labels.
        skipped: why there is no map, or None.
    """

    explained: tuple[float, ...] | None
    trustworthiness: float | None
    preservation: float | None
    purity: float | None
    skipped: str | None = None


@dataclass(frozen=True)
class LayerEvaluation:
    """All numbers of one layer's embedding.

    Attributes:
        dim: of the vectors. health: needs no labels.
        linear: converged logistic regression. linear_sgd, linear_sgd_standardised: the reference study's probe on raw and on
            standardised features. knn: the vote of neighbours. All None without labels.
        entanglement: how classes mix among neighbours; None without labels.
        clusters: k-means. maps: by kind, "pca" and "tsne"; empty where none were drawn.
    """

    dim: int
    health: Health
    linear: Score | None
    linear_sgd: Score | None
    linear_sgd_standardised: Score | None
    knn: Score | None
    entanglement: Entanglement | None
    clusters: ClusterScores
    maps: dict[str, MapScores] = field(default_factory=dict, metadata=IF_ANY)

    def probe(self, name: str) -> Score | None:
        """The score of a probe by its name in ``PROBES``."""
        found: Score | None = getattr(self, name)
        return found


@dataclass(frozen=True)
class Evaluation:
    """A run's evaluation: every layer's. primary_layer: the one that downstream work uses."""

    method: str
    title: str
    seed: int
    primary_layer: str
    layers: dict[str, LayerEvaluation]

    def __post_init__(self) -> None:
        if self.primary_layer not in self.layers:
            raise ValueError(f"has no evaluation of its primary layer '{self.primary_layer}'")

    @property
    def primary(self) -> LayerEvaluation:
        """The evaluation of the primary layer."""
        return self.layers[self.primary_layer]


def read_evaluation(path: Path) -> Evaluation:
    """Read evaluation.json, also of older versions. Raises DamagedFile where it is missing or holds something else."""
    value = read_json(path)
    try:
        return from_json(Evaluation, value)
    except ValueError as error:
        raise DamagedFile(path, str(error)) from error


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number of a layer's evaluation that tables and comparisons show.

    Attributes:
        path: where it stands in the evaluation. title: its name in a sentence. column: its heading in a table.
        percent: a share in [0, 1] that is shown in percent; else it is shown as it is.
    """

    path: tuple[str, str]
    title: str
    column: str
    percent: bool = False

    def of(self, layer: LayerEvaluation) -> float | None:
        """The number in a layer's evaluation; None where it was not measured."""
        group = getattr(layer, self.path[0])
        return None if group is None else getattr(group, self.path[1])


MEASURES: dict[str, Measure] = {
    "linear": Measure(path=("linear", "accuracy"), title="linear probe", column="linear %", percent=True),
    "knn": Measure(path=("knn", "accuracy"), title="kNN probe", column="kNN %", percent=True),
    "linear_sgd": Measure(path=("linear_sgd", "accuracy"), title="SGD probe, raw", column="SGD raw %", percent=True),
    "linear_sgd_standardised": Measure(
        path=("linear_sgd_standardised", "accuracy"),
        title="SGD probe, standardised",
        column="SGD std. %",
        percent=True,
    ),
    "purity": Measure(path=("entanglement", "purity"), title="neighbour purity", column="purity", percent=True),
    "silhouette": Measure(path=("clusters", "silhouette"), title="silhouette", column="silhouette"),
    "rankme": Measure(path=("health", "rankme"), title="RankMe", column="RankMe"),
}
# The accuracies among them, in the order of tables. A study ranks methods by the first.
PROBES = ("linear", "linear_sgd", "linear_sgd_standardised", "knn")
