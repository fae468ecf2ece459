"""The 2x2: what do an amortised encoder and generated neighbours buy?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.evaluate.stats import t_interval
from nearkin.study.answers.common import Run, above, mean_cell, signed


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
    # Seeds that every cell has, or their means where there are none.
    seeds = [
        seed for seed in full["encoder, augmentations"]["by_seed"] if all(seed in c["by_seed"] for c in full.values())
    ]
    values = [[cell["by_seed"][seed] for cell in full.values()] for seed in seeds]
    effects = _effects(np.array(values or [[cell["mean"] for cell in full.values()]]))
    told = {name: _told(each) for name, each in effects.items()}
    rows = [cell | {"title": f"{cell['title']} ({name})"} for name, cell in full.items()]
    for method, layer in (("lo", "distilled"), ("le-vicreg", None), ("le-pixels", None)):
        extra = mean_cell(runs, method, layer)
        if extra:
            rows.append(extra | {"title": f"beside them: {extra['title']}" + (f", {layer}" if layer else "")})
    return {
        "question": "What do an amortised encoder and generated neighbours buy?",
        "statement": (
            f"With augmentations, the encoder is worth {told['encoder, augmentations']} points over a code per image; with "
            f"neighbours {told['encoder, neighbours']}; on average {told['encoder']}. Augmentations are worth "
            f"{told['augmentations, encoder']} points over neighbours for the encoder and {told['augmentations, codes']} for codes; "
            f"on average {told['augmentations']}. {_conclusion(full['encoder, neighbours'], full['codes, augmentations'])}"
        ),
        "caveat": (
            "LO ties codes to images by reconstruction, which the other cells do not have: its cell differs in two things. "
            "Neighbours here come from a trained VICReg, so the neighbour cells inherit what augmentations taught it, and "
            "free codes of new images are means of their neighbours' codes under that VICReg. Which is worth more on average is the same "
            "question as which of the two mixed cells reads more."
        ),
        "rows": rows,
    }


def _effects(cells: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Cells (seeds, 4) -> effects (seeds,): of the encoder and of augmentations, each beside either level of the other, and on average."""
    ea, en, ca, cn = cells.T
    return {
        "encoder, augmentations": ea - ca,
        "encoder, neighbours": en - cn,
        "encoder": ((ea - ca) + (en - cn)) / 2,
        "augmentations, encoder": ea - en,
        "augmentations, codes": ca - cn,
        "augmentations": ((ea - en) + (ca - cn)) / 2,
    }


def _told(effect: NDArray[np.float64]) -> str:
    """The mean, and its 95 % interval over seeds."""
    interval = t_interval(effect.tolist())
    spread = "" if interval is None else f" [{signed(interval[0])}, {signed(interval[1])}]"
    return signed(float(effect.mean())) + spread


def _conclusion(encoder: dict[str, Any], augmentations: dict[str, Any]) -> str:
    """Which of the two is worth more on average: their average effects differ by just the two cells that have one of them."""
    if above(encoder, augmentations):
        return "On average the encoder is worth more."
    if above(augmentations, encoder):
        return "On average augmentations are worth more."
    return "Which of the two is worth more on average is not decided."
