"""The anomaly table as rows and columns for the page: one line per method and score, one column per foreign set."""

from __future__ import annotations

from typing import Any


def anomaly_rows(found: dict[str, Any] | None) -> dict[str, Any]:
    """{"sets": names, "rows": [{"title", "kind", "score", "cells": [{"auroc", "best"} | None]}]}; learned ones first."""
    if not found:
        return {"sets": [], "rows": []}
    sets = list(dict.fromkeys(row["set"] for row in found["rows"]))
    best = {name: max(row["AUROC"] for row in found["rows"] if row["set"] == name) for name in sets}
    lines: dict[tuple[str, Any, str], dict[str, Any]] = {}
    for row in found["rows"]:
        key = (row["method"], row["seed"], row["score"])
        line = lines.setdefault(
            key, {"title": row["title"], "kind": row["kind"], "score": row["score"], "cells": [None] * len(sets)}
        )
        line["cells"][sets.index(row["set"])] = {"auroc": row["AUROC"], "best": row["AUROC"] >= best[row["set"]]}
    return {"sets": sets, "rows": list(lines.values())}
