"""The anomaly table as rows and columns for the page: one line per method and score, one column per foreign set."""

from __future__ import annotations

from typing import Any


def anomaly_rows(table: dict[str, Any] | None) -> dict[str, Any]:
    """{"sets": [{"name", "kind"}], "rows": [{"title", "kind", "score", "cells": [{"auroc", "best"} | None]}]}.

    Learned scores come first; of the sets far ones, then near ones, then the set's own classes, which have no kind.
    """
    if not table:
        return {"sets": [], "rows": []}
    kinds = {item["name"]: item.get("kind") for item in table["sets"]}
    sets = list(dict.fromkeys(row["set"] for row in table["rows"]))
    sets.sort(key=lambda name: (name not in kinds, kinds.get(name) == "near"))
    best = {name: max(row["AUROC"] for row in table["rows"] if row["set"] == name) for name in sets}
    lines: dict[tuple[str, Any, str], dict[str, Any]] = {}
    seeds: dict[str, set[Any]] = {}
    for row in table["rows"]:
        seeds.setdefault(row["method"], set()).add(row["seed"])
    for row in table["rows"]:
        title = row["title"] + (f" s{row['seed']}" if len(seeds[row["method"]]) > 1 else "")
        key = (row["method"], row["seed"], row["score"])
        line = lines.setdefault(
            key, {"title": title, "kind": row["kind"], "score": row["score"], "cells": [None] * len(sets)}
        )
        line["cells"][sets.index(row["set"])] = {"auroc": row["AUROC"], "best": row["AUROC"] >= best[row["set"]]}
    return {"sets": [{"name": name, "kind": kinds.get(name)} for name in sets], "rows": list(lines.values())}


def sources(table: dict[str, Any] | None) -> list[str]:
    """The foreign sets as they were loaded, without variants made of them."""
    sets = (table or {}).get("sets", [])
    return [item["name"] for item in sets if item.get("of", sets[0]["name"]) == item["name"]]


def one_class_rows(table: dict[str, Any] | None, shown: tuple[str, ...]) -> dict[str, Any]:
    """AUROC per class with that class as the only normal one: {"classes", "rows": [{"title", "mean", "cells"}]}.

    The primary score of the ``shown`` methods' runs, then the best score that needs no learning.
    """
    rows: list[dict[str, Any]] = []
    classes: list[str] = []
    details = (table or {}).get("details", {})
    for name, item in details.items():
        if not item["one_class"] or (name != "no-learning" and name.rsplit("-s", 1)[0] not in shown):
            continue
        score = max(item["one_class"], key=lambda key: float(item["one_class"][key]["mean"]))
        if name != "no-learning":
            score = table["primary"] if table and table["primary"] in item["one_class"] else score
        aurocs = item["one_class"][score]
        classes = [row["class"] for row in aurocs["classes"]]
        rows.append(
            {
                "title": name,
                "score": score,
                "mean": aurocs["mean"],
                "cells": [row["AUROC"] for row in aurocs["classes"]],
            }
        )
    return {"classes": classes, "rows": rows}
