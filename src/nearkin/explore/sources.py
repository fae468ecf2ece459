"""Which embeddings to explore: files, run folders and studies, brought to the same images in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings, rows_of
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import as_object, read_object
from nearkin.runs.run import Run

Say = Callable[[str], None]


@dataclass(frozen=True)
class Space:
    """One embedding of the explored images.

    Attributes:
        name: unique, e.g. "vicreg-s0/backbone"; stands in links. title: for people, e.g. "VICReg, backbone".
        embeddings: its vectors (N, D) with ids, labels, split and provenance; every space has the same ids in the same order.
        file: where they were read. run: the folder of the run that made them, or None where it is not known.
    """

    name: str
    title: str
    embeddings: Embeddings
    file: Path
    run: Path | None = None

    @property
    def layer(self) -> str:
        """The run's layer, "" where it is not known."""
        return str(self.embeddings.provenance.get("layer", ""))


def find_spaces(paths: Sequence[Path]) -> list[Space]:
    """Embeddings of files, of run folders (their layer for downstream use) and of studies (one per finished run).

    Raises:
        ConfigError: nothing given. DataError: a path without embeddings, or unreadable ones.
    """
    if not paths:
        raise ConfigError("nothing to explore; give a study, a run folder or embeddings (.parquet, .npy, .npz).")
    found: list[Space] = []
    for path in paths:
        if path.is_dir() and (path / "runs").is_dir():
            folders = sorted((done.parent for done in path.glob("runs/*/done.json")), key=_order(path))
            if not folders:
                raise DataError(f"{path} holds no finished run; let 'nearkin study' finish first.")
            found += [space for folder in folders for space in _of_run(folder)]
        elif path.is_dir() and ((path / "embeddings").is_dir() or not any(path.glob("*.parquet"))):
            found += _of_run(path)
        else:
            found.append(_of_file(path))
    return _unique(found)


def _order(study: Path) -> Callable[[Path], tuple[int, str]]:
    """Sort key of a study's run folders: as the study lists its methods, then by name."""
    named = study / "study.json"
    methods = as_object(read_object(named).get("config")).get("methods") if named.exists() else []
    rank = {str(method): k for k, method in enumerate(methods if isinstance(methods, list) else [])}
    return lambda folder: (rank.get(folder.name.rsplit("-s", 1)[0], len(rank)), folder.name)


def _of_run(folder: Path) -> list[Space]:
    files = sorted((folder / "embeddings").glob("*.parquet"))
    evaluation: dict[str, Any] = {}
    if (folder / "evaluation.json").exists():
        evaluation = read_object(folder / "evaluation.json")
        files = [file for file in files if file.stem == evaluation.get("primary_layer")] or files
    if not files:
        raise DataError(
            f"{folder} holds no embeddings. Give a study or a file of 'nearkin embed' (with --run to search by image files)."
        )
    title = str(evaluation.get("title", folder.name))
    return [
        Space(f"{folder.name}/{file.stem}", f"{title}, {file.stem}", Embeddings.load(file), file, folder)
        for file in files
    ]


def _of_file(path: Path) -> Space:
    loaded = Embeddings.load(path)
    folder = path.resolve().parent.parent
    if path.parent.name == "embeddings" and (folder / "config.json").exists():
        made = next((space for space in _of_run(folder) if space.file.name == path.name), None)
        title = made.title if made else f"{folder.name}, {path.stem}"
        return Space(f"{folder.name}/{path.stem}", title, loaded, path, folder)
    return Space(path.stem, path.stem, loaded, path)


def _unique(spaces: list[Space]) -> list[Space]:
    """Names and titles that differ: a number behind the second and later ones."""
    out: list[Space] = []
    names: dict[str, int] = {}
    titles: dict[str, int] = {}
    for space in spaces:
        names[space.name] = names.get(space.name, 0) + 1
        titles[space.title] = titles.get(space.title, 0) + 1
        n, t = names[space.name], titles[space.title]
        out.append(
            replace(
                space,
                name=space.name if n == 1 else f"{space.name}-{n}",
                title=space.title if t == 1 else f"{space.title} ({t})",
            )
        )
    return out


def align(spaces: list[Space], *, split: str, most: int, seed: int, say: Say) -> list[Space]:
    """Every space on the same rows: the images that all of them have, of one split, at most ``most`` (a seeded choice).

    Raises:
        ConfigError: no rows with that split. DataError: the embeddings share no image, or ids repeat.
    """
    spaces = _same_ids(spaces, say)
    first = spaces[0].embeddings
    rows = rows_of(first.split, split)
    if len(rows) > most:
        say(f"note: {most:,} of {len(rows):,} images are shown, a seeded choice; --max-images changes that")
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    if len(rows) == len(first):
        return spaces
    return [replace(space, embeddings=space.embeddings.take(rows)) for space in spaces]


def _same_ids(spaces: list[Space], say: Say) -> list[Space]:
    first = spaces[0].embeddings.ids
    if all(np.array_equal(space.embeddings.ids, first) for space in spaces):
        return spaces
    where: list[dict[str, int]] = []
    for space in spaces:
        ids = space.embeddings.ids.tolist()
        where.append({name: k for k, name in enumerate(ids)})
        if len(where[-1]) < len(ids):
            raise DataError(f"{space.file}: ids repeat, so its rows cannot be matched with those of other embeddings.")
    shared = [name for name in first.tolist() if all(name in index for index in where)]
    if not shared:
        raise DataError(
            f"{spaces[0].file} and the other embeddings share no image; their ids look like "
            f"{', '.join(repr(str(space.embeddings.ids[0])) for space in spaces[:4])}. Explore them one by one."
        )
    say(f"note: {len(shared):,} images are in all {len(spaces)} embeddings; only these are shown")
    out = []
    for space, index in zip(spaces, where, strict=True):
        rows: NDArray[np.int64] = np.array([index[name] for name in shared], dtype=np.int64)
        out.append(replace(space, embeddings=space.embeddings.take(rows)))
    return out


def with_run(spaces: list[Space], run: Path | None) -> list[Space]:
    """Note ``run`` as the maker of the spaces that have no run and agree with its method, seed and settings.

    Raises:
        ConfigError: no space agrees. DataError: no run there.
    """
    if run is None:
        return spaces
    config = Run(run).config().to_json()
    out = []
    for space in spaces:
        made = space.embeddings.provenance
        same = all(made[key] == config[key] for key in ("method", "seed", "settings") if key in made and key in config)
        out.append(replace(space, run=run) if space.run is None and same else space)
    if out == spaces:
        raise ConfigError(f"--run {run} made none of the embeddings: give the run that made them, or leave it out.")
    return out
