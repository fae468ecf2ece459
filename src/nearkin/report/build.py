"""Write report.html: read what the study left on disk, format it, compute nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup, escape
from numpy.typing import NDArray

from nearkin.evaluate.evaluation import MEASURES, PROBES
from nearkin.fileio import write_text
from nearkin.folders import StudyFolder
from nearkin.format import PALETTE, three_digits
from nearkin.report.embed import base64_uint16, json_script, load_arrays, png_uri, results_of

_SHOWN_USES = ("vicreg", "ngn", "raw-pixels")  # methods whose pictures are shown side by side
_SHOWN = 8  # methods whose maps and entangled classes are shown open; those of others are folded, without pictures
_TOLD = 30  # runs whose training and layers are shown open
_ASSETS = Path(__file__).parent / "assets"
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
_NAMES = {"pca": "PCA", "tsne": "t-SNE"}
_NO_LABEL = 65535


def _pct(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _general(value: float | None) -> str:
    return "–" if value is None else three_digits(value)


def _number(cell: dict[str, Any] | None) -> str:
    return _general(None if cell is None else cell["mean"])


def _cell(cell: dict[str, Any] | None, best: float | None) -> Markup:
    """An accuracy with its interval; the best of its column is bold."""
    if cell is None:
        return Markup("–")
    text = Markup(f"{100 * cell['mean']:.2f}")
    if best is not None and cell["mean"] >= best:
        text = Markup("<b>") + text + Markup("</b>")
    if cell["interval"]:
        low, high = cell["interval"]
        text += Markup(f'<span class="ci">[{100 * low:.1f}, {100 * high:.1f}]</span>')
    return text


def _pairs_of(rows: list[dict[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    """A curve's points, those without a value left out."""
    return [(row[x], row[y]) for row in rows if row[x] is not None and row[y] is not None]


def _listed(names: list[str]) -> Markup:
    """ "A was", "A and B were", "A; B and 7 more methods were". Semicolons, because titles hold commas."""
    if not names:
        return Markup("Nothing was")
    if len(names) == 1:
        return escape(names[0]) + Markup(" was")
    if len(names) > 4:
        return escape(f"{'; '.join(names[:2])} and {len(names) - 2} more methods") + Markup(" were")
    return escape(f"{'; '.join(names[:-1])} and {names[-1]}") + Markup(" were")


def _samples(data: dict[str, Any], arrays: dict[str, Any], thumbs: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of example images, one per class."""
    rows = []
    if "sample_ids" not in arrays:
        return []
    counts = data["splits"].get("test", data["splits"]["train"])["per_class"] or {}
    for k in dict.fromkeys(arrays["sample_labels"].tolist()):
        name = data["classes"][k] if data["classes"] and k >= 0 else "no label" if data["classes"] else "examples"
        ids = arrays["sample_ids"][arrays["sample_labels"] == k]
        images = [(thumbs[str(i)], str(i)) for i in ids if str(i) in thumbs]
        rows.append({"name": name, "count": counts.get(name), "images": images})
    return rows


def build(study: Path, out: Path | None = None) -> Path:
    """Write the report of the study in ``study`` to ``out`` (default: report.html in it) and return the path.

    Raises:
        DataError: no results.json there, or a damaged one. OutputError: the file cannot be written.
    """
    with results_of(study) as results:
        html = _render(study, results)
    target = out or StudyFolder(study).report_file
    write_text(target, html)
    return target


def _render(study: Path, results: dict[str, Any]) -> str:
    """The page. It only formats what the study computed."""
    data = results["data"]
    arrays = load_arrays(StudyFolder(study).thumbnails_file)
    thumbs = {str(i): png_uri(image) for i, image in zip(arrays.get("ids", []), arrays.get("images", []), strict=True)}
    shown_maps, map_data, map_ids, map_labels = point_maps(study, sorted(results["runs"], key=shown_first))
    uses = results.get("uses") or {}
    shown_joint, joint_data = joint_maps(uses.get("anomalies"), len(map_data))
    map_data += joint_data
    cluster_index, cluster_data = cluster_maps(study, uses.get("clusters") or [], len(map_data))
    map_data += cluster_data
    shown_charts = charts(study, results["runs"])
    first_seed = [run for run in results["runs"] if run["seed"] == results["runs"][0]["seed"] or not run["trained"]]
    mixed: list[dict[str, Any]] = []
    for run in sorted(first_seed, key=shown_first):
        layer = run["evaluation"]["primary_layer"]
        entanglement = run["evaluation"]["layers"][layer]["entanglement"]
        if entanglement and run["trained"] and "@" not in run["method"]:
            mixed.append({"title": run["title"], "layer": layer, "pictures": len(mixed) < _SHOWN} | entanglement)
    scored = any(row["linear"] for row in results["table"])
    best = {key: max((row[key]["mean"] for row in results["table"] if row[key]), default=None) for key in PROBES}
    tested = [row for row in results["table"] if row["linear"]]
    own = [row for row in tested if not row.get("variant")]
    bars = [
        {
            "title": row["title"],
            "baseline": row["baseline"],
            "value": row["linear"]["mean"],
            "interval": row["linear"]["interval"],
            "published": results["reference_study"].get(row["method"]),
        }
        for row in sorted(own, key=lambda row: -row["linear"]["mean"])
    ]
    trained_runs = [run for run in results["runs"] if run["trained"]]
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        r=results,
        d=data,
        css=Markup((_ASSETS / "style.css").read_text(encoding="utf-8")),
        js=Markup((_ASSETS / "report.js").read_text(encoding="utf-8")),
        payload=Markup(
            json_script(
                {
                    "charts": shown_charts,
                    "maps": map_data,
                    "ids": map_ids,
                    "labels": map_labels,
                    "classes": data["classes"],
                    "colors": PALETTE,
                    "images_per_epoch": data["study_splits"]["train"],
                }
            )
        ),
        trained=_listed(list(dict.fromkeys(run["title"] for run in sorted(trained_runs, key=shown_first)))),
        label_users=list(dict.fromkeys(run["title"] for run in trained_runs if run["uses_labels"])),
        charts=shown_charts,
        maps=shown_maps,
        mixed=mixed,
        scored=scored,
        best=best,
        measures=MEASURES,
        probes=PROBES,
        bars=bars,
        variants=len(tested) - len(own),
        chance=1 / len(data["classes"]) if data["classes"] else None,
        samples=_samples(data, arrays, thumbs),
        thumbs=thumbs,
        open_methods=_SHOWN,
        open_runs=_TOLD,
        shown_uses=_SHOWN_USES,
        mp="mutual-proximity",
        an_table=anomaly_rows(uses.get("anomalies")),
        one_class=one_class_rows(uses.get("anomalies"), _SHOWN_USES),
        foreign=sources(uses.get("anomalies")),
        joint=shown_joint,
        pairs_of=_pairs_of,
        cluster_index=cluster_index,
        trained_runs=trained_runs,
        run_colours=run_colours(results["runs"]),
        colours=PALETTE,
        pct=_pct,
        num=_number,
        g=_general,
        cell=_cell,
    )


# Training curves as series for the page's line charts


def shown_first(run: dict[str, Any]) -> tuple[bool, bool]:
    """Sort key: the study's own methods, then others, then variants of a setting."""
    return "@" in run["method"], not run.get("of_study", True)


def run_colours(runs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Name and colour of the methods whose curves are drawn: as many as colours stay apart, the study's first, variants last."""
    trained = sorted((run for run in runs if run["trained"]), key=shown_first)
    return list(zip(dict.fromkeys(run["title"] for run in trained), PALETTE, strict=False))


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _points(lines: list[dict[str, Any]], key: str, most: int | None = None) -> list[list[float | None]]:
    points = [line for line in lines if key in line]
    if most and len(points) > most:
        points = points[:: -(-len(points) // most)]
    return [[round(line["epoch"], 3), _finite(line[key])] for line in points]


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


# Map coordinates as compact data for the page


def _quantise(coords: NDArray[np.float32], points: NDArray[np.float32] | None = None) -> NDArray[np.uint16]:
    """Both axes by one scale into 0..65535, centred: (N, 2) -> (N, 2). ``points`` (M, 2): these, on that scale, instead."""
    low, high = coords.min(axis=0), coords.max(axis=0)
    span = float((high - low).max()) or 1.0
    scaled = ((coords if points is None else points) - (low + high) / 2) / span + 0.5
    out: NDArray[np.uint16] = np.clip(scaled * 65535, 0, 65535).astype(np.uint16)
    return out


def _payload(coords: NDArray[np.float32], labels: NDArray[np.int64], **more: Any) -> dict[str, Any]:
    return {"xy": base64_uint16(_quantise(coords).ravel()), "labels": base64_uint16(labels)} | more


def joint_maps(anomalies: dict[str, Any] | None, start: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Maps of test and foreign images together, of the runs that have one: (what the page says, coordinates).

    Args:
        anomalies: the study's anomalies. start: index of the first of them among the page's maps.
    """
    shown: list[dict[str, Any]] = []
    payload: list[dict[str, Any]] = []
    for run, details in (anomalies or {}).get("details", {}).items():
        made = details.get("map")
        for kind, numbers in made["maps"].items() if made else ():
            if numbers["skipped"]:
                continue
            coords = np.stack([numbers["x"], numbers["y"]], axis=1).astype(np.float32)
            shown.append(
                {"run": run, "name": _NAMES.get(kind, kind), "index": start + len(payload), "sets": made["names"]}
                | {"trustworthiness": numbers["trustworthiness"], "purity": numbers["purity"]}
            )
            payload.append(_payload(coords, np.array(made["member"]), key="", names=made["names"]))
    return shown, payload


def cluster_maps(
    study: Path, clusterings: list[dict[str, Any]], start: int
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The t-SNE maps coloured by cluster, with the clusters' numbered centres: (index by run, coordinates)."""
    index: dict[str, int] = {}
    payload: list[dict[str, Any]] = []
    for item in clusterings:
        drawn: dict[str, Any] = item.get("map") or {}
        key = f"{item['layer']}/tsne"
        arrays = load_arrays(StudyFolder(study).run(item["run"]).maps_file) if drawn else {}
        if key not in arrays or len(arrays[key]) != len(drawn["assigned"]):
            continue
        coords, middle = arrays[key], [xy for xy in drawn["centres"] if xy is not None]
        placed = _quantise(coords, np.array(middle, dtype=np.float32).reshape(-1, 2))
        numbers = [k for k, xy in enumerate(drawn["centres"]) if xy is not None]
        marks = [[k, int(x), int(y)] for k, (x, y) in zip(numbers, placed, strict=True)]
        names = [f"cluster {k}" for k in range(len(drawn["centres"]))]
        index[item["run"]] = start + len(payload)
        payload.append(_payload(coords, np.array(drawn["assigned"]), key="", names=names, marks=marks))
    return index, payload


def point_maps(
    study: Path, runs: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, list[str]], dict[str, str]]:
    """Maps of the first seed's runs: (what the page says, coordinates for the script, ids by key, labels by key).

    Variants of a method (NAME@SETTING=VALUE) have none: a grid of dozens would make the file too large to send.
    """
    shown: list[dict[str, Any]] = []
    payload: list[dict[str, Any]] = []
    ids: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    seen: set[str] = set()
    for run in runs:
        if run["method"] in seen or "@" in run["method"]:
            continue
        seen.add(run["method"])
        layer = run["evaluation"]["primary_layer"]
        arrays = load_arrays(StudyFolder(study).run(run["id"]).maps_file)
        for kind, numbers in run["evaluation"]["layers"][layer].get("maps", {}).items():
            entry = {"run": len(seen), "title": run["title"], "layer": layer, "name": _NAMES.get(kind, kind)} | numbers
            key = f"{layer}/{kind}"
            if not numbers["skipped"] and key in arrays:
                names = [str(i) for i in arrays[f"{layer}/ids"]]
                digest = hashlib.md5("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:8]
                ids[digest] = names
                known = arrays[f"{layer}/labels"]
                labels[digest] = base64_uint16(np.where(known < 0, _NO_LABEL, known))
                entry["index"] = len(payload)
                payload.append({"xy": base64_uint16(_quantise(arrays[key]).ravel()), "key": digest})
            elif not numbers["skipped"]:
                entry["skipped"] = "its coordinates are missing from the run folder"
            shown.append(entry)
    return shown, payload, ids, labels


# The anomaly table as rows and columns: a line per method and score, a column per foreign set


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
