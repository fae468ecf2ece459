"""Can the variance term work when each image has its own code?"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from nearkin.evaluate.stats import t_interval
from nearkin.study.answers.common import Run, above, gap, mean_cell, points, primary

_MET = 0.005  # of the variance term: nothing that its weight could make felt


def latent_codes(runs: list[Run]) -> dict[str, Any] | None:
    """LO's code forms and batch sizes: per-dimension std and probe."""
    mine = [run for run in runs if run["method"].split("@")[0] in ("lo", "lo-naive")]
    rows = []
    for method in dict.fromkeys(run["method"] for run in mine):
        cell = mean_cell(runs, method, "codes")
        group = [run for run in mine if run["method"] == method]
        if cell is not None:
            rows.append(cell | _numbers(group))
    if not rows:
        return None
    by = {row["method"]: row for row in rows}
    shared, naive = by.get("lo"), by.get("lo-naive")
    text = []
    if shared:
        text.append(_shared(shared))
        text += _against_pixels(runs, shared)
    distilled, features = mean_cell(runs, "lo", "distilled"), mean_cell(runs, "lo", "distilled-backbone")
    if distilled:
        rows.append(distilled | {"title": f"{distilled['title']}, distilled encoder"})
        text.append(f"The encoder distilled from the codes reads {points(distilled['mean'])} %.")
    if features:
        rows.append(features | {"title": f"{features['title']}, features of the distilled encoder"})
        text.append(f"Its features read {points(features['mean'])} %.")
    if naive:
        text.append(_naive(runs, naive, shared))
    text += _batches(rows)
    return {
        "question": "Can the variance term work when each image has its own code?",
        "statement": " ".join(text),
        "caveat": (
            "Random codes satisfy variance and covariance from the start, so a std near 1 alone proves nothing. Codes of test images are "
            "found by optimisation with the decoder frozen, so they need not spread like those of training images."
        ),
        "rows": rows,
    }


def _numbers(group: list[Run]) -> dict[str, Any]:
    """Means over a method's seeds: std per dimension of the training codes (with its interval) and of inferred ones, terms."""
    spread = [run["training"].get("projector_std") for run in group]
    known = [value for value in spread if value is not None]
    terms = {}
    for name in ("variance", "invariance"):
        values = [run["training"].get(name) for run in group]
        terms[name] = float(np.mean(values)) if None not in values else None
    return {
        "std": float(np.mean(known)) if known else None,
        "std_interval": t_interval(known),
        "std_inferred": float(np.mean([primary(run)["health"]["std_mean"] for run in group])),
        "batch": group[0]["config"].get("batch_size"),
        "terms": terms,
    }


def _shared(row: dict[str, Any]) -> str:
    """A code per image: its probe and spread, and what is left for the variance term to do."""
    term, std = row["terms"]["variance"], _std(row)
    text = f"A code per image reads {points(row['mean'])} %; its training codes' std is {std}, of inferred ones {row['std_inferred']:.2f}."
    if term is None:
        return text
    if term >= _MET:
        return text + f" The variance term is still {term:.2g} at the end."
    if row["std"] is not None and row["std"] >= 1:
        return text + " The variance term is 0 at the end: the codes spread past its target, and it has nothing to do."
    return text + f" The variance term is below {_MET} at the end."


def _against_pixels(runs: list[Run], row: dict[str, Any]) -> list[str]:
    pixels = mean_cell(runs, "raw-pixels")
    if pixels is None:
        return []
    if above(row, pixels) or above(pixels, row):
        verdict = "more" if above(row, pixels) else "less"
        return [f"To a linear rule its codes hold {verdict} than raw pixels ({gap(row, pixels)})."]
    return [f"Whether its codes hold more than raw pixels, to a linear rule, is not decided ({gap(row, pixels)})."]


def _naive(runs: list[Run], naive: dict[str, Any], shared: dict[str, Any] | None) -> str:
    """A code per view: its probes beside those of a shared code, and how far apart the codes of one image are."""
    text = f"A free code per view reads {points(naive['mean'])} %, std {_std(naive)}"
    near, reference = mean_cell(runs, "lo-naive", "codes", "knn"), mean_cell(runs, "lo", "codes", "knn")
    if shared:
        text += f": {gap(naive, shared)} against a shared one"
        if near and reference:
            text += f", and {gap(near, reference)} in kNN"
    apart = naive["terms"]["invariance"]
    if apart is not None and naive["std"]:
        # Two unrelated codes of standard deviation s differ by 2 s^2 per dimension.
        share = apart / (2 * naive["std"] ** 2)
        text += (
            f". Two codes of one image stay {100 * share:.0f} % as far apart (squared) as those of two images would be if they were "
            "unrelated: only the loss's own terms tie them together, not a net"
        )
    return text + "."


def _std(row: dict[str, Any]) -> str:
    if row["std"] is None:
        return "unknown"
    interval = row["std_interval"]
    return f"{row['std']:.2f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")


def _batches(rows: list[dict[str, Any]]) -> list[str]:
    """Std and probe over batch sizes, for each form that was run with several."""
    told = []
    for form, name in (("lo", "a code per image"), ("lo-naive", "a code per view")):
        of_sizes = [
            row for row in rows if re.fullmatch(rf"{form}(@batch_size=\d+)?", row["method"]) and row.get("batch")
        ]
        mine = {row["batch"]: row for row in of_sizes}
        if len(mine) < 2:
            continue
        listed = "; ".join(
            f"{size}: std {_std(mine[size])}, {points(mine[size]['mean'])} % [{points(mine[size]['interval'][0])}, "
            f"{points(mine[size]['interval'][1])}]"
            for size in sorted(mine)
        )
        told.append(f"By batch size, {name}: {listed}.")
    return told
