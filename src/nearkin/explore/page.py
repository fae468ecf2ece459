"""The page: its files as a server sends them, and all of them with the data as one file that needs no server."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, NearkinError
from nearkin.explore.collection import Collection
from nearkin.explore.computed import SCORES, all_neighbours
from nearkin.fileio import write_text
from nearkin.report.embed import json_script

ASSETS = Path(__file__).parent / "assets"
VENDOR = "vendor/regl-scatterplot.bundle.js"
# In the order in which they are loaded; each adds to the global `nearkin`.
SCRIPTS = (VENDOR, "api.js", "model.js", "plot.js", "legend.js", "panel.js", "zoom.js", "marks.js", "main.js")
STYLE = "style.css"
INDEX = "index.html"
SERVED = {name: ("text/css" if name.endswith(".css") else "text/javascript") for name in (*SCRIPTS, STYLE)}

MOST_EXPORTED = 20_000
NEAR, FAR = 10, 5


def asset(name: str) -> str:
    """The text of one of the page's files, by its name in this package."""
    return (ASSETS / name).read_text(encoding="utf-8")


def index_page() -> str:
    """The page as the server sends it: it names its style and scripts, and holds none."""
    scripts = "\n".join(f'<script defer src="assets/{name}"></script>' for name in SCRIPTS)
    head = f'<link rel="stylesheet" href="assets/{STYLE}">\n{scripts}'
    return asset(INDEX).replace("<!-- head -->", head).replace("<!-- end -->", "")


def single_page(data: str) -> str:
    """The page as one file, with ``data`` (JSON that is safe inside a script element). Only its own scripts may run."""
    scripts = [asset(name) for name in SCRIPTS]
    for text in scripts:
        assert "</script" not in text.lower()
    hashes = " ".join(f"'sha256-{_hash(text)}'" for text in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{asset(STYLE)}</style>'
    end = f'<script type="application/json" id="data">{data}</script>\n'
    end += "\n".join(f"<script>{text}</script>" for text in scripts)
    return asset(INDEX).replace("<!-- head -->", head).replace("<!-- end -->", end)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def check_export(path: Path, collection_size: int) -> None:
    """Raises ConfigError when the set is too large for one file, or the file's name is none of a page."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--export {path}: a page is written as .html.")
    if collection_size > MOST_EXPORTED:
        raise ConfigError(
            f"--export: {collection_size:,} images are too many for one file, at most {MOST_EXPORTED:,} fit. "
            f"Take fewer: --max-images {MOST_EXPORTED} or --split test; or look at them without --export."
        )


def export(collection: Collection, path: Path) -> Path:
    """Write the page. It opens from disk, without network; searching with new files needs the server.

    Raises:
        ConfigError: what :func:`check_export` raises. OutputError: the disk refuses.
    """
    check_export(path, len(collection))
    data: dict[str, Any] = {"columns": [_floats(column.values) for column in collection.columns]}
    data["spaces"] = [_space(collection, k) for k in range(len(collection.spaces))]
    data["meta"] = collection.describe()  # after the maps, which are made on the way
    for space in data["meta"]["spaces"]:
        space["searchable"] = False
    pictures = collection.pictures
    if pictures is not None:
        collection.say(f"{pictures.sheets} sheets of thumbnails")
        data["sheets"] = [base64.b64encode(pictures.sheet(k)).decode() for k in range(pictures.sheets)]
    write_text(path, single_page(json_script(data)))
    return path


def _space(collection: Collection, k: int) -> dict[str, Any]:
    """Maps, scores and neighbours of one space."""
    space = collection.spaces[k]
    collection.say(f"{k + 1} of {len(collection.spaces)}: {space.title}, neighbours of {len(collection):,} images")
    collection.map(k, "pca")
    maps = {kind: {"note": item.note, "coords": _floats(item.coords)} for kind, item in collection.maps[k].items()}
    scores = {}
    for name in SCORES:
        try:
            column = collection.score(k, name)
        except NearkinError as error:  # a collapsed embedding has no clusters, and that is no reason to stop
            collection.say(f"note: {space.title}: no {name}: {error}")
            continue
        scores[name] = {"groups": list(column.groups), "values": _floats(column.values)}
    near, far = all_neighbours(space.embeddings.Z, NEAR, FAR)
    return {
        "maps": maps,
        "scores": scores,
        "near": _rows(near.indices),
        "near_distance": _floats(near.distances),
        "far": _rows(far.indices),
        "far_distance": _floats(far.distances),
        "k": [int(near.indices.shape[1]), int(far.indices.shape[1])],
    }


def _floats(values: NDArray[Any]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _rows(values: NDArray[np.int64]) -> str:
    """Row numbers below 20,000 as uint16."""
    return base64.b64encode(values.astype("<u2").tobytes()).decode()
