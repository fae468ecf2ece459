"""Made-up runs whose right conclusion is known."""

from __future__ import annotations

from typing import Any

from nearkin.evaluate.entanglement import Entanglement
from nearkin.evaluate.evaluation import ClusterScores, Evaluation, LayerEvaluation, MapScores, Score
from nearkin.evaluate.health import Health
from nearkin.evaluate.stats import WILSON
from nearkin.study.answers import RunResult


def score(accuracy: float | None, protocol: str = "", **chosen: Any) -> Score | None:
    """A probe's score on 1,000 images with an interval of one point to each side; None without labels."""
    if accuracy is None:
        return None
    return Score(accuracy, 1000, (accuracy - 0.01, accuracy + 0.01), WILSON, protocol, chosen)


def layer(
    accuracy: float | None = 0.6,
    *,
    std: float = 1.0,
    rank: float = 50.0,
    sgd: float = 0.5,
    standard: float = 0.5,
    knn: float | None = None,
    silhouette: float | None = 0.1,
    purity: float = 0.5,
    map_purity: float | None = None,
) -> LayerEvaluation:
    """A layer's evaluation; ``accuracy`` None: without labels. ``map_purity``: it has a t-SNE map."""
    labelled = accuracy is not None
    return LayerEvaluation(
        dim=8,
        health=Health(std, std, 0.0, rank, -2.0, 0.1),
        linear=score(accuracy),
        linear_sgd=score(sgd if labelled else None),
        linear_sgd_standardised=score(standard if labelled else None),
        knn=score(accuracy if knn is None else knn),
        entanglement=Entanglement(10, purity, (), ()) if labelled else None,  # type: ignore[arg-type]
        clusters=ClusterScores(2, silhouette, 0.05, None, None, None),
        maps={} if map_purity is None else {"tsne": MapScores(None, 0.9, 0.5, map_purity)},
    )


def run(
    method: str,
    layers: dict[str, LayerEvaluation],
    *,
    seed: int = 0,
    title: str | None = None,
    trained: bool = True,
    primary: str = "z",
    **extra: Any,
) -> RunResult:
    """A run of a method, titled like it, with the primary layer "z"."""
    title = title or method
    given: dict[str, Any] = {
        "id": f"{method}-s{seed}",
        "baseline": not trained,
        "of_study": True,
        "uses_labels": method == "supervised",
        "config": {"batch_size": 256},
        "seconds": 1.0,
        "images_per_s": None,
        "epochs": 1,
        "training": {"loss": 1.0, "projector_std": 0.9, "alignment": 0.5},
        "losses": None,
        "neighbor_purity": None,
        "graph": None,
        "diagnosis": None,
        "evaluation": Evaluation(method, title, seed, primary, layers),
    }
    return RunResult(method=method, title=title, seed=seed, trained=trained, **(given | extra))
