"""Does how clustered an embedding is predict how strong it is?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from nearkin.evaluate.stats import spearman, spearman_interval
from nearkin.study.answers.common import Run, linear, primary

_LEAST_RUNS = 5


_PREDICTORS: dict[str, Callable[[Run], float | None]] = {
    "silhouette of k-means": lambda run: primary(run)["clusters"]["silhouette"],
    "silhouette of classes": lambda run: primary(run)["clusters"]["class_silhouette"],
    "neighbour purity": lambda run: (primary(run)["entanglement"] or {}).get("purity"),
    "t-SNE map purity": lambda run: (primary(run).get("maps", {}).get("tsne") or {}).get("purity"),
    "RankMe": lambda run: primary(run)["health"]["rankme"],
    "uniformity": lambda run: primary(run)["health"]["uniformity"],
    "alignment": lambda run: run["training"].get("alignment"),
    "final training loss": lambda run: run["training"].get("loss"),
}


def _rho(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['rho']:+.2f} [{low:+.2f}, {high:+.2f}]".replace("-", "−")


def _on_one_scale(group: list[Run]) -> list[Run]:
    """The runs of the commonest method and weights of the loss's terms: only their losses can be compared."""

    def kind(run: Run) -> tuple[str, tuple[tuple[str, float], ...]]:
        weights = tuple(sorted((k, float(v)) for k, v in run["config"].items() if k.endswith("_weight")))
        return run["method"].partition("@")[0], weights

    commonest = Counter(map(kind, group)).most_common(1)
    return [run for run in group if kind(run) == commonest[0][0]]


def clusteredness(runs: list[Run]) -> dict[str, Any] | None:
    """Which number that needs no probe predicts the probe, over runs?"""
    scored = [run for run in runs if linear(run) is not None]
    families = {"all methods": scored} | {
        f"{family} only": [run for run in scored if run["method"].split("@")[0].split("-")[0] == family]
        for family in dict.fromkeys(run["method"].split("@")[0].split("-")[0] for run in scored)
    }
    rows: list[dict[str, Any]] = []
    for scope, group in families.items():
        for name, read in _PREDICTORS.items():
            if name == "final training loss" and scope == "all methods":
                continue  # losses of different methods have no common scale
            of = _on_one_scale(group) if name == "final training loss" else group
            pairs = [(read(run), linear(run)) for run in of]
            kept = [(a, b) for a, b in pairs if a is not None and b is not None and math.isfinite(a)]
            if len(kept) < _LEAST_RUNS or len({a for a, _ in kept}) < 2:
                continue
            x, y = (np.array(column, dtype=np.float64) for column in zip(*kept, strict=True))
            if len(np.unique(y)) < 2:
                continue
            rho, (low, high) = spearman(x, y), spearman_interval(x, y)
            if math.isfinite(low):
                rows.append({"scope": scope, "predictor": name, "rho": rho, "interval": [low, high], "n": len(kept)})
    if not rows:
        return None
    across = [row for row in rows if row["scope"] == "all methods"]
    best = max(across or rows, key=lambda row: abs(row["rho"]))
    shape = next((row for row in across if row["predictor"] == "silhouette of k-means"), None)
    text = f"Over {best['n']} runs, {best['predictor']} goes best with the probe: rank correlation {_rho(best)}."
    if shape is not None and shape is not best:
        low, high = shape["interval"]
        verdict = "says little" if low < 0 < high else "goes with it" if shape["rho"] > 0 else "goes against it"
        text += f" How clustered the embedding is (silhouette of k-means) {verdict}: {_rho(shape)}."
    return {
        "question": "Does how clustered an embedding is predict how strong it is?",
        "statement": text,
        "caveat": (
            "Purity and the silhouette of classes read the same labels as the probe; only silhouette of k-means, RankMe, "
            "uniformity, alignment and loss need none. A correlation over methods mixes families; few runs, wide intervals."
        ),
        "correlations": rows,
    }
