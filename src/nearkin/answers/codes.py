"""Can the variance term work when each image has its own code?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nearkin.answers.common import Run, mean_cell, points, primary


def latent_codes(runs: list[Run]) -> dict[str, Any] | None:
    """LO's code forms and batch sizes: per-dimension std and probe."""
    mine = [run for run in runs if run["method"].split("@")[0] in ("lo", "lo-naive")]
    if not mine:
        return None
    rows = []
    for method in dict.fromkeys(run["method"] for run in mine):
        cell = mean_cell(runs, method, "codes")
        if cell is None:
            continue
        group = [run for run in mine if run["method"] == method]
        std = float(np.mean([run["training"].get("projector_std", math.nan) for run in group]))
        inferred = float(np.mean([primary(run)["health"]["std_mean"] for run in group]))
        rows.append(cell | {"std": std, "std_inferred": inferred, "batch": group[0]["config"].get("batch_size")})
    if not rows:
        return None
    by = {row["method"]: row for row in rows}
    sizes = _batches(rows)
    text = ""
    if "lo" in by:
        text = f"A code per image reads {points(by['lo']['mean'])} %, its training codes' std is {by['lo']['std']:.2f}."
    distilled = mean_cell(runs, "lo", "distilled")
    if distilled:
        rows.append(distilled | {"title": f"{distilled['title']}, distilled encoder"})
        text += f" The encoder distilled from them reads {points(distilled['mean'])} %"
        features = mean_cell(runs, "lo", "distilled-backbone")
        if features:
            rows.append(features | {"title": f"{features['title']}, features of the distilled encoder"})
            text += f", its features {points(features['mean'])} %"
        text += "."
    if "lo-naive" in by:
        text += (
            f" A free code per view reads {points(by['lo-naive']['mean'])} %, std {by['lo-naive']['std']:.2f}: nothing "
            "makes codes of similar images similar, so invariance, variance and covariance are met without the content."
        )
    text += sizes
    return {
        "question": "Can the variance term work when each image has its own code?",
        "statement": text.strip(),
        "caveat": "Random codes satisfy variance and covariance from the start, so a std near 1 alone proves nothing.",
        "rows": rows,
    }


def _batches(rows: list[dict[str, Any]]) -> str:
    """Std and probe over batch sizes, for each form that was run with several."""
    text = ""
    for form, name in (("lo", "a code per image"), ("lo-naive", "a code per view")):
        mine = {row["batch"]: row for row in rows if row["method"].split("@")[0] == form}
        if len(mine) < 2:
            continue
        listed = "; ".join(
            f"{size}: std {mine[size]['std']:.2f}, {points(mine[size]['mean'])} % [{points(mine[size]['interval'][0])}, "
            f"{points(mine[size]['interval'][1])}]"
            for size in sorted(mine)
        )
        text += f" By batch size, {name}: {listed}."
    return text
