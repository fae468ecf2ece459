"""What does each term of VICReg contribute, and how much do the weights matter?"""

from __future__ import annotations

from typing import Any

from nearkin.study.answers.common import Run, above, gap, mean_cell, points


def ablations(runs: list[Run]) -> dict[str, Any] | None:
    """Each of VICReg's terms off, and its weights' sensitivity where variants of the weights were run."""
    full = mean_cell(runs, "vicreg")
    parts = {
        "invariance": mean_cell(runs, "vicreg-noinv"),
        "variance": mean_cell(runs, "vicreg-novar"),
        "covariance": mean_cell(runs, "vicreg-nocov"),
    }
    found = {name: cell for name, cell in parts.items() if cell}
    if full is None or not found:
        return None
    # In the table's order, which runs come in.
    variants = dict.fromkeys(
        run["method"] for run in runs if run["method"].startswith("vicreg@") and "_weight=" in run["method"]
    )
    rows = [full, *found.values(), *(cell for v in variants if (cell := mean_cell(runs, v)))]
    text = "; ".join(f"without {name} {points(cell['mean'])} % ({gap(cell, full)})" for name, cell in found.items())
    statement = f"VICReg reads {points(full['mean'])} %; {text}."
    if len(found) > 1:
        worst, *others = sorted(found, key=lambda name: found[name]["mean"])
        close = [name for name in others if not above(found[name], found[worst])]
        if not above(full, found[worst]):
            statement += " Leaving out one of them costs nothing beyond chance."
        elif close:
            told = "; ".join(f"against {name} {gap(found[worst], found[name])}" for name in close)
            statement += f" Which term it can least do without is not decided: {worst} {told}."
        else:
            statement += f" The term it can least do without here is {worst}."
    grid = [cell for cell in rows if "@" in cell["method"]]
    if grid:
        low, high = min(cell["mean"] for cell in grid), max(cell["mean"] for cell in grid)
        better = [cell["title"] for cell in grid if above(cell, full)]
        statement += (
            f" With other weights ({len(grid)}) the accuracy lies between {points(low)} and {points(high)} %; better than the "
            f"preset's beyond chance, each taken by itself: {'; '.join(better) or 'none'}."
        )
    return {
        "question": "What does each term of VICReg contribute?",
        "statement": statement,
        "caveat": "A term's worth depends on the others' weights and on the length of training; a short run punishes slow terms.",
        "rows": rows,
    }
