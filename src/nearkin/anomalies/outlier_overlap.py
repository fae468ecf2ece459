"""Do outliers belong to the set, to the method, or to the single run? Overlap of top lists by what the two lists differ in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

Key = tuple[str, int, str]  # method, seed, score
_DIFFERS = {"methods": 0, "seeds": 1, "scores": 2}


def apart(keys: Sequence[Key], shared: dict[str, Any]) -> dict[str, Any]:
    """Mean overlap of lists that differ in the method only, the seed only, or the score only.

    Args:
        keys: of the lists, in the order of ``shared``, what :class:`nearkin.anomalies.overlap.Overlap` gives as a dictionary.
    Returns:
        {"between": {"methods" | "seeds" | "scores": {"mean" (None without such a pair), "pairs"}}, "statement"}.
    """
    between: dict[str, dict[str, Any]] = {}
    for name, at in _DIFFERS.items():
        values = [
            shared["matrix"][i][j]
            for i, j in combinations(range(len(keys)), 2)
            if all((keys[i][p] != keys[j][p]) == (p == at) for p in range(3))
        ]
        between[name] = {"mean": float(np.mean(values)) if values else None, "pairs": len(values)}
    return {"between": between, "statement": _statement(between, shared["chance"])}


def _statement(between: dict[str, dict[str, Any]], chance: float) -> str:
    told = [f"{name} {100 * item['mean']:.0f} %" for name, item in between.items() if item["pairs"]]
    if not told:
        return "One list alone: nothing to compare."
    text = f"Lists of the most anomalous test images that differ in one thing only share (Jaccard, chance {100 * chance:.1f} %): "
    text += f"{', '.join(told)}."
    methods, seeds = between["methods"]["mean"], between["seeds"]["mean"]
    if methods is None:
        return text
    if seeds is None:
        return (
            text + " With one seed it cannot be told whether what methods do not share belongs to them or to the run."
        )
    if seeds - chance <= 0.5 * (1 - chance) and methods - chance <= 0.5 * (seeds - chance):
        return text + " Even seeds of one method share less than half: outliers belong to the run before the set."
    if methods - chance > 0.5 * (seeds - chance):
        return (
            text
            + " Methods share more than half of what seeds share: outliers belong to the set more than to the model."
        )
    return (
        text + " Methods share less than half of what seeds share: outliers belong to the method more than to the set."
    )
