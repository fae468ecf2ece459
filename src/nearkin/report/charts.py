"""Training curves as series for the page's line charts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nearkin.folders import StudyFolder

# Eleven colours that stay apart for colour-blind readers, on white and on black: the six of Paul Tol's "bright" scheme, and
# five that keep at least the smallest distance of those six under simulated colour blindness (tests/report/test_charts.py).
COLOURS = [
    "#4477AA",
    "#EE6677",
    "#228833",
    "#CCBB44",
    "#66CCEE",
    "#AA3377",
    "#FFBB88",
    "#99CCBB",
    "#AA88FF",
    "#7733CC",
    "#5500FF",
]
_MOST_STEPS = 400  # points of a per-step curve
_TERMS = (
    ("loss", "total loss (weighted)"),
    ("invariance", "invariance term"),
    ("variance", "variance term"),
    ("covariance", "covariance term"),
)
_HEALTH = (
    ("projector_std", "std of the projections (target 1)"),
    ("rankme", "RankMe of the features"),
    ("knn", "kNN accuracy on validation"),
    ("alignment", "alignment (distance of two views)"),
    ("uniformity", "uniformity"),
)


def shown_first(run: dict[str, Any]) -> tuple[bool, bool]:
    """Sort key: the study's own methods, then others, then variants of a setting."""
    return "@" in run["method"], not run.get("of_study", True)


def run_colours(runs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Name and colour of the methods whose curves are drawn: as many as colours stay apart, the study's first, variants last."""
    trained = sorted((run for run in runs if run["trained"]), key=shown_first)
    return list(zip(dict.fromkeys(run["title"] for run in trained), COLOURS, strict=False))


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _points(lines: list[dict[str, Any]], key: str, most: int | None = None) -> list[list[float | None]]:
    found = [line for line in lines if key in line]
    if most and len(found) > most:
        found = found[:: -(-len(found) // most)]
    return [[round(line["epoch"], 3), _finite(line[key])] for line in found]


def _finite(value: float) -> float | None:
    return float(f"{value:.5g}") if value == value and abs(value) != float("inf") else None


def charts(study: Path, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One chart per term and per health number, with the series of the runs of :func:`run_colours`; empty ones are left out."""
    colour = dict(run_colours(runs))
    drawn = [run for run in runs if run["trained"] and run["title"] in colour]
    logs = {run["id"]: _lines(StudyFolder(study).run(run["id"]).metrics_file) for run in drawn}
    out = []
    for key, title in (*_TERMS, *_HEALTH):
        series: list[dict[str, Any]] = []
        for run in drawn:
            log = logs[run["id"]]
            name = run["title"] + (f" s{run['seed']}" if run["seed"] else "")
            style = {"color": colour[run["title"]]}
            val = [line for line in log if line["kind"] == "epoch" and line.get("split") == "val"]
            if (key, title) in _TERMS:
                steps = [line for line in log if line["kind"] == "step"]
                train = [line for line in log if line["kind"] == "epoch" and line.get("split") == "train"]
                test = [line for line in log if line["kind"] == "test"]
                series += [
                    {"name": f"{name} step", "points": _points(steps, key, _MOST_STEPS), "thin": True} | style,
                    {"name": f"{name} train", "points": _points(train, key)} | style,
                    {"name": f"{name} val", "points": _points(val, key), "dash": True} | style,
                    {"name": f"{name} test", "points": _points(test, key), "marks": True} | style,
                ]
            else:
                series.append({"name": name, "points": _points(val, key)} | style)
        series = [s for s in series if s["points"]]
        if series:
            out.append({"title": title, "series": series})
    return out
