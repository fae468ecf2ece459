"""Map coordinates as compact data for the page."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.report.embed import base64_uint16, load_arrays

_NAMES = {"pca": "PCA", "tsne": "t-SNE"}
_NO_LABEL = 65535


def _quantise(coords: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Both axes by one scale into 0..65535, centred."""
    low, high = coords.min(axis=0), coords.max(axis=0)
    span = float((high - low).max()) or 1.0
    scaled = (coords - (low + high) / 2) / span + 0.5
    out: NDArray[np.uint16] = np.clip(scaled * 65535, 0, 65535).astype(np.uint16)
    return out


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
        arrays = load_arrays(study / "runs" / run["id"] / "maps.npz")
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
