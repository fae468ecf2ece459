"""VICReg beside Laplacian eigenmaps."""

from __future__ import annotations

from typing import Any

from nearkin.answers.common import Run, gap, mean_cell, points


def eigenmaps(runs: list[Run]) -> dict[str, Any] | None:
    """VICReg beside Laplacian eigenmaps."""
    vicreg = mean_cell(runs, "vicreg")
    maps = [cell for name in ("le-vicreg", "le-random", "le-pixels") if (cell := mean_cell(runs, name))]
    if vicreg is None or not maps:
        return None
    text = "; ".join(f"{cell['title']} {points(cell['mean'])} % ({gap(cell, vicreg)})" for cell in maps)
    notes: dict[str, list[str]] = {}
    for run in runs:
        if run["method"].split("-")[0] == "le" and run.get("graph"):
            notes.setdefault(run["graph"], []).append(f"{run['title']} s{run['seed']}")
    graphs = "".join(f" {'; '.join(who)}: {note}." for note, who in notes.items())
    return {
        "question": "VICReg beside Laplacian eigenmaps: is the neighbour graph enough?",
        "statement": f"VICReg {points(vicreg['mean'])} %; {text}.{graphs}",
        "caveat": (
            "Eigenmaps are as good as the distances their graph is built on, and have no encoder: new images are placed by "
            "the Nystrom extension. Their maps stand in the section Maps, in the same layout and with the same numbers."
        ),
        "rows": [vicreg, *maps],
    }
