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
    layers = run["evaluation"]["layers"]
    found = layers[layer or run["evaluation"]["primary_layer"]]["linear"] if layer is None or layer in layers else None
    return None if found is None else float(found["accuracy"])


def mean_cell(runs: list[Run], method: str, layer: str | None = None) -> dict[str, Any] | None:
    """Mean linear accuracy over a method's seeds, with a t interval or the single run's Wilson interval."""
    mine = [run for run in runs if run["method"] == method and linear(run, layer) is not None]
    if not mine:
        return None
    values = [float(linear(run, layer) or 0.0) for run in mine]
    interval = t_interval(values)
    name = layer or mine[0]["evaluation"]["primary_layer"]
    if interval is None:
        interval = tuple(mine[0]["evaluation"]["layers"][name]["linear"]["interval"])
    return {
        "method": method,
        "title": mine[0]["title"],
        "layer": name,
        "mean": float(np.mean(values)),
        "interval": [float(v) for v in interval],
        "n_seeds": len(values),
    }


def pick(layer: dict[str, Any], path: tuple[str, str]) -> float | None:
    """A number of a layer's evaluation, e.g. ("health", "rankme"); None where the group was not measured."""
    group = layer.get(path[0])
    return None if group is None else group.get(path[1])


def points(value: float) -> str:
    return f"{100 * value:.1f}"


def gap(a: dict[str, Any], b: dict[str, Any]) -> str:
    """How a compares with b, in points, and whether the intervals keep apart."""
    apart = a["interval"][0] > b["interval"][1] or b["interval"][0] > a["interval"][1]
    return f"{signed(a['mean'] - b['mean'])} points ({'intervals apart' if apart else 'intervals overlap'})"


def signed(value: float) -> str:
    """A share as points with one decimal and its sign, the minus a true one."""
    return f"{100 * value:+.1f}".replace("-", "−")
