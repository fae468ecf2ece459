"""The data of the page, read once: spaces, columns, maps, pictures."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nearkin.errors import unknown
from nearkin.explore.columns import Column, base_columns, column_of, table_columns
from nearkin.explore.computed import (
    NAMES,
    SCORES,
    Finder,
    PointMap,
    compute_score,
    fitted,
    pca_map,
    stored_maps,
    tsne_map,
)
from nearkin.explore.pictures import Pictures, open_pictures
from nearkin.explore.spaces import Say, Space, align, find_spaces, with_run

MOST_IMAGES = 60_000


@dataclass
class Collection:
    """The explored images. Maps, finders and scores are made when they are first asked for, one at a time.

    Attributes:
        spaces: the embeddings, all of the same N images in the same order.
        columns: what to colour and filter by. maps: per space, by kind. notes: what the user should know.
    """

    title: str
    spaces: list[Space]
    columns: list[Column]
    maps: list[dict[str, PointMap]]
    pictures: Pictures | None
    say: Say
    seed: int = 0
    notes: list[str] = field(default_factory=list)
    _finders: dict[int, Finder] = field(default_factory=dict)
    _scores: dict[tuple[int, str], Column] = field(default_factory=dict)
    # A t-SNE holds the first lock for minutes; a search for neighbours takes only the second.
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _finder_lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self.spaces[0].embeddings)

    def map(self, space: int, kind: str) -> PointMap:
        """A map; PCA and t-SNE are computed where they are missing. Raises ConfigError for an unknown kind."""
        with self._lock:
            made = self.maps[space]
            if kind not in made:
                if kind == "pca":
                    made[kind] = pca_map(self.spaces[space], seed=self.seed)
                elif kind == "tsne":
                    made[kind] = tsne_map(self.spaces[space], seed=self.seed, say=self.say)
                else:
                    raise unknown("map", kind, ("pca", "tsne", *made))
            return made[kind]

    def finder(self, space: int) -> Finder:
        """The search in one space."""
        with self._finder_lock:
            if space not in self._finders:
                self._finders[space] = Finder(self.spaces[space].embeddings.Z)
            return self._finders[space]

    def score(self, space: int, name: str) -> Column:
        """Hubness, anomaly score or cluster. Raises ConfigError for another name, DataError where there is none."""
        if name not in SCORES:
            raise unknown("score", name, SCORES)
        with self._lock:
            if (space, name) not in self._scores:
                self._scores[space, name] = compute_score(name, self.spaces[space], self.say)
            return self._scores[space, name]

    def first_map(self, space: int) -> str:
        """The kind of the first map shown: an existing map rather than one to be computed."""
        return next((kind for kind in ("table", "tsne", "pca") if kind in self.maps[space]), "pca")

    def describe(self) -> dict[str, Any]:
        """The data that the page needs before it draws, JSON-able."""
        first = self.spaces[0].embeddings
        ids = first.ids.tolist()
        return {
            "title": self.title,
            "ids": ids,
            "fingerprint": hashlib.sha256("\n".join(ids).encode("utf-8", "surrogateescape")).hexdigest()[:16],
            "columns": [{"name": item.name, "groups": list(item.groups)} for item in self.columns],
            "scores": SCORES,
            "spaces": [
                {
                    "name": space.name,
                    "title": space.title,
                    "dim": int(space.embeddings.Z.shape[1]),
                    "searchable": space.run is not None and space.run.config_file.exists(),
                    "maps": {kind: item.note for kind, item in dict(self.maps[k]).items()},
                    "first": self.first_map(k),
                }
                for k, space in enumerate(self.spaces)
            ],
            "map_names": NAMES,
            "pictures": None if self.pictures is None else {"side": self.pictures.side, "sheets": self.pictures.sheets},
            "notes": self.notes,
        }


def collect(
    paths: Sequence[Path],
    *,
    images: str | None,
    tables: Sequence[Path],
    run: Path | None,
    split: str | None,
    most: int,
    seed: int,
    say: Say,
) -> Collection:
    """Read embeddings, tables and pictures.

    Args:
        split: "train", "val", "test" or "all". None: "test" where every embedding has a study's map, else "all".
    Raises:
        ConfigError: what :func:`spaces.find_spaces`, :func:`spaces.align` and :func:`spaces.with_run` raise.
        DataError: unreadable or foreign files.
    """
    notes: list[str] = []

    def tell(text: str) -> None:
        say(text)
        if text.startswith("note: "):
            notes.append(text.removeprefix("note: "))

    spaces = with_run(find_spaces(paths), run)
    if split is None:
        split = _usual_split(spaces, tell)
    spaces = align(spaces, split=split, most=min(most, MOST_IMAGES), seed=seed, say=tell)
    first = spaces[0].embeddings
    columns = base_columns(first)
    maps: list[dict[str, PointMap]] = [stored_maps(space) for space in spaces]
    for space, own in zip(spaces, maps, strict=True):
        if space.file.suffix == ".parquet":
            more, coords = table_columns(space.file, first.ids, tell) if _has_key(space) else ([], None)
            columns += more
            if coords is not None:
                own["table"] = PointMap(fitted(coords), f"columns x and y of {space.file.name}")
    for path in tables:
        more, coords = table_columns(path, first.ids, tell)
        columns += more
        if coords is not None:
            maps[0]["table"] = PointMap(fitted(coords), f"columns x and y of {path.name}")
    study = next((space.run.study for space in spaces if space.run is not None and space.run.study), None)
    pictures, whole = open_pictures(first.ids, images, study, tell)
    if whole is not None:
        made = [column_of(f"factor {name}", np.asarray(values)) for name, values in whole.factors.items()]
        columns += [column for column in made if column is not None]
    title = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
    return Collection(title, spaces, _named(columns), maps, pictures, say, seed, notes)


def _usual_split(spaces: list[Space], say: Say) -> str:
    """ "test" if every embedding has a study's map, else "all": studies draw maps of their test images."""
    mapped = all(space.run is not None and space.run.maps_file.exists() for space in spaces)
    if mapped and (spaces[0].embeddings.split == "test").any():
        say("note: the test images, of which the study drew maps; --split all shows all")
        return "test"
    return "all"


def _has_key(space: Space) -> bool:
    import pyarrow.parquet as pq

    return "id" in pq.read_schema(space.file).names or "path" in pq.read_schema(space.file).names


def _named(columns: list[Column]) -> list[Column]:
    """The columns with unique names: a later one of the same name gets a number."""
    seen: dict[str, int] = {}
    out = []
    for column in columns:
        seen[column.name] = seen.get(column.name, 0) + 1
        n = seen[column.name]
        out.append(column if n == 1 else Column(f"{column.name} ({n})", column.values, column.groups))
    return out
