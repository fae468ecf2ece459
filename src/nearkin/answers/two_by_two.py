"""The 2x2: what do an amortised encoder and generated neighbours buy?"""

from __future__ import annotations

from typing import Any

import numpy as np

from nearkin.answers.common import Run, linear, mean_cell, signed
from nearkin.evaluate.stats import t_interval


def two_by_two(runs: list[Run]) -> dict[str, Any] | None:
    """{shared encoder, code per image} x {augmentations, neighbours}."""
    cells = {
        "encoder, augmentations": mean_cell(runs, "vicreg"),
        "encoder, neighbours": mean_cell(runs, "ngn"),
        "codes, augmentations": mean_cell(runs, "lo", "codes"),
        "codes, neighbours": mean_cell(runs, "free-codes"),
    }
    full = {name: cell for name, cell in cells.items() if cell}
    if len(full) < 4:
        return None
    ea, en, ca, cn = (full[name]["mean"] for name in cells)
    amortised, generated = ((ea - ca) + (en - cn)) / 2, ((ea - en) + (ca - cn)) / 2
    spread = _spread(runs)
    rows = [cell | {"title": f"{cell['title']} ({name})"} for name, cell in full.items()]
    for method, layer in (("lo", "distilled"), ("le-vicreg", None), ("le-pixels", None)):
        extra = mean_cell(runs, method, layer)
        if extra:
            rows.append(extra | {"title": f"beside them: {extra['title']}" + (f", {layer}" if layer else "")})
    return {
        "question": "What do an amortised encoder and generated neighbours buy?",
        "statement": (
            f"With augmentations, the encoder is worth {signed(ea - ca)} points over a code per image; with neighbours "
            f"{signed(en - cn)}; on average {signed(amortised)}{spread[0]}. Augmentations are worth {signed(ea - en)} points over "
            f"neighbours for the encoder and {signed(ca - cn)} for codes; on average {signed(generated)}{spread[1]}."
        ),
        "caveat": (
            "LO ties codes to images by reconstruction, which the other cells do not have: its cell differs in two things. "
            "Neighbours here come from a trained VICReg, so the neighbour cells inherit what augmentations taught it, and "
            "free codes of new images are means of their neighbours' codes under that VICReg."
        ),
        "rows": rows,
    }


def _spread(runs: list[Run]) -> tuple[str, str]:
    """The 95 % interval of both average effects over the seeds that all four cells have; words where there is one."""
    layers = {"vicreg": None, "ngn": None, "lo": "codes", "free-codes": None}
    found = {
        method: {run["seed"]: linear(run, layer) for run in runs if run["method"] == method}
        for method, layer in layers.items()
    }
    seeds = sorted(set.intersection(*(set(values) for values in found.values())))
    cells = np.array([[found[method][seed] for method in layers] for seed in seeds], dtype=np.float64).reshape(-1, 4)
    ea, en, ca, cn = cells.T
    out = []
    for effects in (((ea - ca) + (en - cn)) / 2, ((ea - en) + (ca - cn)) / 2):
        interval = t_interval(effects.tolist())
        note = "one seed, so no interval"
        out.append(f" ({note})" if interval is None else f" [{signed(interval[0])}, {signed(interval[1])}]")
    return out[0], out[1]
