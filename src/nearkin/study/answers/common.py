"""What the answers share: a run's numbers, means over seeds with their intervals, and how they are worded."""

from __future__ import annotations

from typing import Any

import numpy as np

from nearkin.evaluate.stats import t_interval

Run = dict[str, Any]


def primary(run: Run) -> dict[str, Any]:
    """The evaluation of the layer that downstream work uses."""
    out: dict[str, Any] = run["evaluation"]["layers"][run["evaluation"]["primary_layer"]]
    return out


def linear(run: Run, layer: str | None = None) -> float | None:
    """Linear-probe accuracy of a layer (default: the primary one); None without labels."""
    return _accuracy(run, layer, "linear")


def _accuracy(run: Run, layer: str | None, score: str) -> float | None:
    layers = run["evaluation"]["layers"]
    found = layers[layer or run["evaluation"]["primary_layer"]].get(score) if layer is None or layer in layers else None
    return None if found is None else float(found["accuracy"])


def mean_cell(runs: list[Run], method: str, layer: str | None = None, score: str = "linear") -> dict[str, Any] | None:
    """Mean accuracy over a method's seeds, with a t interval or the single run's Wilson interval.

    score: of a layer's evaluation, "linear" or "knn". "by_seed" holds the single values.
    """
    mine = {run["seed"]: run for run in runs if run["method"] == method and _accuracy(run, layer, score) is not None}
    if not mine:
        return None
    first = next(iter(mine.values()))
    by_seed = {str(seed): float(_accuracy(run, layer, score) or 0.0) for seed, run in mine.items()}
    values = list(by_seed.values())
    interval = t_interval(values)
    name = layer or first["evaluation"]["primary_layer"]
    if interval is None:
        interval = tuple(first["evaluation"]["layers"][name][score]["interval"])
    return {
        "method": method,
        "title": first["title"],
        "layer": name,
        "mean": float(np.mean(values)),
        "interval": [float(v) for v in interval],
        "n_seeds": len(values),
        "by_seed": by_seed,
    }


def pick(layer: dict[str, Any], path: tuple[str, str]) -> float | None:
    """A number of a layer's evaluation, e.g. ("health", "rankme"); None where the group was not measured."""
    group = layer.get(path[0])
    return None if group is None else group.get(path[1])


def points(value: float) -> str:
    return f"{100 * value:.1f}"


def paired(a: dict[str, Any], b: dict[str, Any]) -> tuple[float, float] | None:
    """95 % interval of a minus b over the seeds that both have; None below two. A seed decides the order of images for both, and
    which VICReg chose their neighbours."""
    seeds = [seed for seed in a.get("by_seed", {}) if seed in b.get("by_seed", {})]
    return t_interval([a["by_seed"][seed] - b["by_seed"][seed] for seed in seeds])


def above(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether a is better than b beyond chance: over paired seeds, or else by intervals that keep apart."""
    over_seeds = paired(a, b)
    return a["interval"][0] > b["interval"][1] if over_seeds is None else over_seeds[0] > 0


def gap(a: dict[str, Any], b: dict[str, Any]) -> str:
    """How a compares with b, in points: with the interval of paired seeds, or whether the two intervals keep apart."""
    over_seeds = paired(a, b)
    if over_seeds is not None:
        low, high = over_seeds
        return f"{signed((low + high) / 2)} points [{signed(low)}, {signed(high)}]"
    apart = "apart" if above(a, b) or above(b, a) else "overlap"
    return f"{signed(a['mean'] - b['mean'])} points (intervals {apart})"


def signed(value: float) -> str:
    """A share as points with one decimal and its sign, the minus a true one."""
    return f"{100 * value:+.1f}".replace("-", "−")
