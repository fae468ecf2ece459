"""A run's curves, read from metrics.jsonl whatever it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nearkin.fileio import as_object
from nearkin.runs.findings import number
from nearkin.runs.readers import Damage, guarded

Curve = list[tuple[float, float]]
# What is shown, by the name of its field in an epoch's line.
_SHOWN = {"loss": "loss", "knn": "kNN accuracy"}


def read_curves(path: Path) -> dict[str, dict[str, Curve]]:
    """Title -> split -> (epoch, value) of the loss and of the monitoring kNN; nothing where there are no curves.

    Lines that are damaged or hold no finite numbers are left out; checking the file is :func:`readers.read_metrics`'s.
    """
    try:
        return guarded(path, "JSON lines", _curves)
    except Damage:
        return {}


def _curves(path: Path) -> dict[str, dict[str, Curve]]:
    out: dict[str, dict[str, Curve]] = {}
    with open(path, "rb") as file:
        for raw in file:
            line = _object(raw)
            epoch, split = number(line.get("epoch")), line.get("split")
            if line.get("kind") != "epoch" or epoch is None or split not in ("train", "val"):
                continue
            for name, title in _SHOWN.items():
                value = number(line.get(name))
                if value is not None:
                    out.setdefault(title, {}).setdefault(split, []).append((epoch, value))
    return out


def _object(raw: bytes) -> dict[str, Any]:
    try:
        return as_object(json.loads(raw))
    except (ValueError, RecursionError):
        return {}
