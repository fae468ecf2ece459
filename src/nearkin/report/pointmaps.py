"""Map coordinates as compact data for the page."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.folders import StudyFolder
from nearkin.report.embed import base64_uint16, load_arrays

_NAMES = {"pca": "PCA", "tsne": "t-SNE"}
_NO_LABEL = 65535


def _quantise(coords: NDArray[np.float32], points: NDArray[np.float32] | None = None) -> NDArray[np.uint16]:
    """Both axes by one scale into 0..65535, centred: (N, 2) -> (N, 2). ``points`` (M, 2): these, on that scale, instead."""
    low, high = coords.min(axis=0), coords.max(axis=0)
    span = float((high - low).max()) or 1.0
    scaled = ((coords if points is None else points) - (low + high) / 2) / span + 0.5
    out: NDArray[np.uint16] = np.clip(scaled * 65535, 0, 65535).astype(np.uint16)
    return out


def _payload(coords: NDArray[np.float32], labels: NDArray[np.int64], **more: Any) -> dict[str, Any]:
    return {"xy": base64_uint16(_quantise(coords).ravel()), "labels": base64_uint16(labels)} | more


def joint_maps(found: dict[str, Any] | None, start: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Maps of test and foreign images together, of the runs that have one: (what the page says, coordinates).

    Args:
        found: the study's anomalies. start: index of the first of them among the page's maps.
    """
    shown: list[dict[str, Any]] = []
    payload: list[dict[str, Any]] = []
    for run, details in (found or {}).get("details", {}).items():
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


def cluster_maps(study: Path, found: list[dict[str, Any]], start: int) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The t-SNE maps coloured by cluster, with the clusters' numbered centres: (index by run, coordinates)."""
    index: dict[str, int] = {}
    payload: list[dict[str, Any]] = []
    for item in found:
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
