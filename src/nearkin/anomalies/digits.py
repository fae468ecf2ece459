"""Which digits, and which stroke thickness, the most anomalous digit images have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nearkin.anomalies.ood_sets import OodSet
from nearkin.evaluate.stats import spearman

MOST = 0.05


def describe_digits(scores: NDArray[np.float64], item: OodSet) -> dict[str, Any]:
    """JSON-able description of a set with strokes; scores float64 (N,), higher = more anomalous.

    {"n_most": number of the 5 % most anomalous, "thickness_all", "thickness_most": mean stroke thickness in pixels,
    "thickness_rho": Spearman correlation of thickness and score (None if one is constant),
    "per_digit": [{"digit", "share", "share_of_most", "mean_rank" (0 = least, 1 = most anomalous)}], empty without labels,
    "statement": all that in words}.
    """
    if item.thickness is None:
        raise ValueError(f"'{item.name}' has no strokes")
    n = len(scores)
    n_most = max(1, round(MOST * n))
    most = np.argsort(-scores, kind="stable")[:n_most]
    ranks = (stats.rankdata(scores) - 1) / max(n - 1, 1)
    labels = item.items.labels
    rows = []
    for k, name in enumerate(item.items.classes):
        mine = labels == k if labels is not None else np.zeros(n, dtype=bool)
        if mine.any():
            rows.append(
                {
                    "digit": name,
                    "share": float(mine.mean()),
                    "share_of_most": float(mine[most].mean()),
                    "mean_rank": float(ranks[mine].mean()),
                }
            )
    out: dict[str, Any] = {
        "n_most": n_most,
        "thickness_all": float(item.thickness.mean()),
        "thickness_most": float(item.thickness[most].mean()),
        "thickness_rho": spearman(item.thickness, scores) if n > 2 else None,
        "per_digit": rows,
    }
    return out | {"statement": _words(out)}


def _words(found: dict[str, Any]) -> str:
    most = sorted(found["per_digit"], key=lambda row: -float(row["share_of_most"] - row["share"]))[:3]
    which = ", ".join(
        f"{row['digit']} ({100 * row['share_of_most']:.0f} % against {100 * row['share']:.0f} %)" for row in most
    )
    rho = "" if found["thickness_rho"] is None else f", rank correlation with the score {found['thickness_rho']:+.2f}"
    above = f"above all {which}" if which else "of unknown digits"
    return (
        f"the {found['n_most']} most anomalous are {above}; their strokes are {found['thickness_most']:.2f} pixels thick "
        f"against {found['thickness_all']:.2f}{rho}"
    )
