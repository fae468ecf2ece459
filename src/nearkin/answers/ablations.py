"""What does each term of VICReg contribute, and how much do the weights matter?"""

from __future__ import annotations

from typing import Any

from nearkin.answers.common import Run, above, gap, mean_cell, points


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
        worst, second = sorted(found, key=lambda name: found[name]["mean"])[:2]
        if above(found[second], found[worst]):
            statement += f" The term it can least do without here is {worst}."
        else:
            statement += (
                f" Whether {worst} or {second} is missed most is not decided: {gap(found[worst], found[second])}."
            )
    grid = [cell for cell in rows if "@" in cell["method"]]
    if grid:
        low, high = min(cell["mean"] for cell in grid), max(cell["mean"] for cell in grid)
        better = [cell["title"] for cell in grid if above(cell, full)]
        statement += (
            f" Over {len(grid)} other weights the accuracy lies between {points(low)} and {points(high)} %; "
            f"better than the preset's beyond chance: {'; '.join(better) or 'none'}."
        )
    return {
        "question": "What does each term of VICReg contribute?",
        "statement": statement,
        "caveat": "A term's worth depends on the others' weights and on the length of training; a short run punishes slow terms.",
        "rows": rows,
    }
