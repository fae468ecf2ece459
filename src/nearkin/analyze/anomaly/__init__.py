"""Anomaly scores of vectors: how unlike the training vectors is each one? Higher = more anomalous, everywhere.

One algorithm per file. :class:`Scorer` computes several scores and shares the neighbours among them, :func:`score_sets` those of several sets;
the classes are scikit-learn estimators (there ``decision_function`` keeps that library's sign: lower = more anomalous).
"""

from nearkin.analyze.anomaly.forest import IsolationForestAnomaly
from nearkin.analyze.anomaly.knn import KNNAnomaly, NormalizedKNNAnomaly
from nearkin.analyze.anomaly.lists import OWN, TrainLists
from nearkin.analyze.anomaly.lof import LOFAnomaly
from nearkin.analyze.anomaly.mahalanobis import MahalanobisAnomaly
from nearkin.analyze.anomaly.scores import SCORES, Scorer, score_sets

__all__ = [
    "OWN",
    "SCORES",
    "IsolationForestAnomaly",
    "KNNAnomaly",
    "LOFAnomaly",
    "MahalanobisAnomaly",
    "NormalizedKNNAnomaly",
    "Scorer",
    "TrainLists",
    "score_sets",
]
