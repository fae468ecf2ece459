"""Why does NGN fall short: wrong neighbours, or no invariance taught?"""

from __future__ import annotations

from typing import Any

import numpy as np

from nearkin.answers.common import Run, gap, mean_cell, points


def neighbours(runs: list[Run]) -> dict[str, Any] | None:
    """Does NGN fail because neighbours are wrong, or because invariance is no longer taught?"""
    base, vicreg = mean_cell(runs, "ngn"), mean_cell(runs, "vicreg")
    if base is None or vicreg is None:
        return None
    rows: list[dict[str, Any]] = [vicreg]
    variants = sorted({run["method"] for run in runs if run["method"].startswith("ngn") and "@" in run["method"]})
    for method in ("ngn", "ngn-cosine", "ngn-pixels", "ngn-oracle", "ngn-augmented", *variants):
        cell = mean_cell(runs, method)
        if cell:
            shares = [run["neighbor_purity"] for run in runs if run["method"] == method and run.get("neighbor_purity")]
            rows.append(cell | {"purity": float(np.mean(shares)) if shares else None})
    by = {row["method"]: row for row in rows}
    text = f"NGN reads {points(base['mean'])} %, {gap(base, vicreg)} against VICReg"
    if by["ngn"].get("purity") is not None:
        text += f"; {points(by['ngn']['purity'])} % of its neighbours are of the image's class"
    text += "."
    if "ngn-cosine" in by:
        text += f" Cosine instead of L2 neighbours: {gap(by['ngn-cosine'], base)}."
    if "ngn-oracle" in by:
        text += f" Perfectly pure neighbours (an oracle that reads labels): {gap(by['ngn-oracle'], base)}."
    if "ngn-augmented" in by:
        text += f" Augmentations added back: {gap(by['ngn-augmented'], base)}."
    for method in variants:
        text += f" {by[method]['title']}: {gap(by[method], base)}." if method in by else ""
    return {
        "question": "Does NGN fall short because neighbours are wrong, or because invariance is no longer taught?",
        "statement": text,
        "caveat": "The oracle teaches classes, not only invariance: it bounds what purer neighbours could give.",
        "rows": rows,
    }
