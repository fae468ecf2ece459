"""nearkin: unlabelled images to an honest embedding.

The names below are imported when they are first used, so that ``import nearkin`` imports no torch:
estimators (VICReg, NGN, LatentOptimization, LaplacianEigenmaps, ...), Embeddings, what reads them (nearest, hubs, cluster,
near_duplicates, anomaly_scores, evaluate_embeddings), describe_run, and the module losses.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nearkin.version import __version__ as __version__

if TYPE_CHECKING:
    from nearkin import losses
    from nearkin.anomalies.image_scores import anomaly_scores
    from nearkin.clusters.clusters import cluster
    from nearkin.duplicates.find import near_duplicates
    from nearkin.embeddings import Embeddings
    from nearkin.estimators import (
        BYOL,
        HOG,
        NGN,
        WMSE,
        BarlowTwins,
        FreeCodes,
        LaplacianEigenmaps,
        LatentOptimization,
        LeJEPA,
        PixelPCA,
        RandomEncoder,
        RawPixels,
        SimCLR,
        SimSiam,
        Supervised,
        VICReg,
    )
    from nearkin.retrieval.hubs import hubs
    from nearkin.retrieval.nearest import nearest
    from nearkin.runs.check import describe_run
    from nearkin.study.protocol import evaluate_embeddings

__all__ = [
    "BYOL",
    "HOG",
    "NGN",
    "WMSE",
    "BarlowTwins",
    "Embeddings",
    "FreeCodes",
    "LaplacianEigenmaps",
    "LatentOptimization",
    "LeJEPA",
    "PixelPCA",
    "RandomEncoder",
    "RawPixels",
    "SimCLR",
    "SimSiam",
    "Supervised",
    "VICReg",
    "anomaly_scores",
    "cluster",
    "describe_run",
    "evaluate_embeddings",
    "hubs",
    "losses",
    "near_duplicates",
    "nearest",
]
_ELSEWHERE = {
    "Embeddings": "embeddings",
    "anomaly_scores": "anomalies.image_scores",
    "cluster": "clusters.clusters",
    "describe_run": "runs.check",
    "evaluate_embeddings": "study.protocol",
    "hubs": "retrieval.hubs",
    "near_duplicates": "duplicates.find",
    "nearest": "retrieval.nearest",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nearkin' has no attribute '{name}'")
    if name == "losses":
        return importlib.import_module("nearkin.losses")
    return getattr(importlib.import_module(f"nearkin.{_ELSEWHERE.get(name, 'estimators')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
