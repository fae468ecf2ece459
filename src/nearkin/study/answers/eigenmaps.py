"""VICReg beside Laplacian eigenmaps."""

from __future__ import annotations

from typing import Any

from nearkin.study.answers.common import Run, above, gap, mean_cell, points


def eigenmaps(runs: list[Run]) -> dict[str, Any] | None:
    """VICReg beside Laplacian eigenmaps."""
    vicreg = mean_cell(runs, "vicreg")
    maps = [cell for name in ("le-vicreg", "le-random", "le-pixels") if (cell := mean_cell(runs, name))]
    if not maps:
        return None
    told = [
        f"{cell['title']} {points(cell['mean'])} %" + (f" ({gap(cell, vicreg)})" if vicreg else "") for cell in maps
    ]
    text = "; ".join([f"VICReg {points(vicreg['mean'])} %", *told] if vicreg else told) + "."
    own = next((cell for cell in maps if cell["method"] == "le-vicreg"), None)
    if vicreg and own:
        if above(vicreg, own):
            text += " So to a linear rule these eigenmaps hold less than the features that their graph was built on."
        elif above(own, vicreg):
            text += " So to a linear rule these eigenmaps hold more than the features that their graph was built on."
        else:
            text += " Whether they hold less than the features that their graph was built on is not decided."
    notes: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        if run["method"].split("-")[0] == "le" and run.get("graph"):
            notes.setdefault(run["graph"], {}).setdefault(run["title"], []).append(f"s{run['seed']}")
    graphs = ""
    for note, who in notes.items():
        named = "; ".join(f"{title} {', '.join(seeds)}" for title, seeds in who.items())
        graphs += f" {named}: {note}."
    return {
        "question": "VICReg beside Laplacian eigenmaps: is the neighbour graph enough?",
        "statement": text + graphs,
        "caveat": (
            "A graph is more than its first eigenmaps, and these are of at most 10,000 images. Eigenmaps are as good as the distances their graph is built on, and have no encoder: new images are placed by "
            "the Nystrom extension. Their maps stand in the section Maps (folded where there are many methods), in the same layout and with the same numbers."
        ),
        "rows": [*([vicreg] if vicreg else []), *maps],
    }
