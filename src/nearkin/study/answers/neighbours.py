"""Why does NGN fall short: wrong neighbours, or no invariance taught?"""

from __future__ import annotations

from typing import Any

import numpy as np

from nearkin.study.answers.common import Run, above, gap, mean_cell, points


def neighbours(runs: list[Run]) -> dict[str, Any] | None:
    """Does NGN fail because neighbours are wrong, or because invariance is no longer taught?"""
    base, vicreg = mean_cell(runs, "ngn"), mean_cell(runs, "vicreg")
    if base is None or vicreg is None:
        return None
    rows: list[dict[str, Any]] = [vicreg]
    variants = dict.fromkeys(run["method"] for run in runs if run["method"].startswith("ngn") and "@" in run["method"])
    for method in ("ngn", "ngn-cosine", "ngn-pixels", "ngn-filtered", "ngn-oracle", "ngn-augmented", *variants):
        cell = mean_cell(runs, method)
        if cell:
            shares = [p for run in runs if run["method"] == method and (p := run.get("neighbor_purity")) is not None]
            rows.append(cell | {"purity": float(np.mean(shares)) if shares else None})
    by = {row["method"]: row for row in rows}
    text = f"NGN reads {points(base['mean'])} %, {gap(base, vicreg)} against VICReg"
    if by["ngn"].get("purity") is not None:
        text += f"; {points(by['ngn']['purity'])} % of its neighbours are of the image's class"
    text += "."
    if "ngn-cosine" in by:
        text += f" Cosine instead of L2 neighbours: {gap(by['ngn-cosine'], base)}."
    if "ngn-filtered" in by:
        text += f" Pure and alike (the nearest of the image's class, by its label): {gap(by['ngn-filtered'], base)}."
    if "ngn-oracle" in by:
        text += f" Pure only (any images of the class): {gap(by['ngn-oracle'], base)}."
    if "ngn-pixels" in by:
        text += f" Neighbours of raw pixels, which no augmentation helped to choose: {gap(by['ngn-pixels'], base)}."
    if "ngn-augmented" in by:
        text += f" Augmentations added back: {gap(by['ngn-augmented'], base)}."
    for method in variants:
        text += f" {by[method]['title']}: {gap(by[method], base)}." if method in by else ""
    text += _conclusion(by, base, vicreg)
    return {
        "question": "Does NGN fall short because neighbours are wrong, or because invariance is no longer taught?",
        "statement": text,
        "caveat": "Neighbours come from a trained VICReg, so they inherit what augmentations taught it."
        if not {"ngn-filtered", "ngn-oracle"} & set(by)
        else "Oracles read labels. The one with the nearest images of the class bounds what purer neighbours could give; any "
        "images of the class are as pure and less alike, so where they read less, likeness counts and not purity alone.",
        "rows": rows,
    }


def _conclusion(by: dict[str, dict[str, Any]], base: dict[str, Any], vicreg: dict[str, Any]) -> str:
    """What the variants say about NGN's distance to VICReg."""
    said = []
    filtered, oracle, augmented = (by.get(name) for name in ("ngn-filtered", "ngn-oracle", "ngn-augmented"))
    if not above(vicreg, base):
        said.append("whether it falls short at all is not decided")
    elif filtered and above(filtered, base):
        left = (
            f"{gap(vicreg, filtered).lstrip('+')} remain"
            if above(vicreg, filtered)
            else "no more remains beyond chance"
        )
        said.append(
            f"wrong neighbours account for {gap(filtered, base).lstrip('+')} of its distance to VICReg, and {left}"
        )
    elif filtered:
        said.append("purer neighbours that look alike do not help beyond chance")
    if oracle:
        how = "hurts" if above(base, oracle) else "helps" if above(oracle, base) else "changes nothing beyond chance"
        said.append(f"purity alone {how}" + (": positives have to look alike, too" if how == "hurts" else ""))
    if augmented:
        how = "help" if above(augmented, base) else "hurt" if above(base, augmented) else "change nothing beyond chance"
        said.append(f"augmentations added back {how}")
    return f" So {'; '.join(said)}." if said else ""
