"""Which embeddings to explore: of files, run folders and studies, brought to the same images in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings, rows_of
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import as_object, read_object
from nearkin.runs.run import Run, Study, open_run
from nearkin.vectors import sample_rows

Say = Callable[[str], None]


@dataclass(frozen=True)
class Space:
    """One embedding of the explored images.

    Attributes:
        name: unique, e.g. "vicreg-s0/backbone"; stands in links. title: for people, e.g. "VICReg, backbone".
        embeddings: its vectors (N, D) with ids, labels, split and provenance; every space has the same ids in the same order.
        file: where they were read. run: the run that made them, or None where it is not known.
    """

    name: str
    title: str
    embeddings: Embeddings
    file: Path
    run: Run | None = None

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
    spaces: list[Space] = []
    for path in paths:
        study, run = Study(path), Run(path)
        if study.runs_folder.is_dir():
            runs = sorted((inside for inside in study.runs() if inside.done), key=_order(study))
            if not runs:
                raise DataError(f"{path} holds no finished run; let 'nearkin study' finish first.")
            spaces += [space for inside in runs for space in _of_run(inside)]
        elif run.embeddings_folder.is_dir() or (path.is_dir() and not any(path.glob("*.parquet"))):
            spaces += _of_run(run)
        else:
            spaces.append(_of_file(path))
    return _unique(spaces)


def _order(study: Study) -> Callable[[Run], tuple[int, str]]:
    """Sort key of a study's runs: as the study lists its methods, then by name."""
    named = study.study_file
    methods = as_object(read_object(named).get("config")).get("methods") if named.exists() else []
    place = {str(method): k for k, method in enumerate(methods if isinstance(methods, list) else [])}
    return lambda run: (place.get(run.name.rsplit("-s", 1)[0], len(place)), run.name)


def _of_run(run: Run) -> list[Space]:
    """The layer for downstream use, or every layer where no evaluation says which that is."""
    files = sorted(run.embeddings_folder.glob("*.parquet"))
    evaluation = read_object(run.evaluation_file) if run.evaluation_file.exists() else {}
    files = [file for file in files if file.stem == evaluation.get("primary_layer")] or files
    if not files:
        raise DataError(
            f"{run.folder} holds no embeddings. Give a study or a file of 'nearkin embed' (with --run to search by image files)."
        )
    title = str(evaluation.get("title", run.name))
    return [
        Space(f"{run.name}/{file.stem}", f"{title}, {file.stem}", Embeddings.load(file), file, run) for file in files
    ]


def _of_file(path: Path) -> Space:
    loaded = Embeddings.load(path)
    run = Run(path.resolve().parent.parent)
    if path.resolve().parent != run.embeddings_folder or not run.config_file.exists():
        return Space(path.stem, path.stem, loaded, path)
    evaluation = read_object(run.evaluation_file) if run.evaluation_file.exists() else {}
    title = str(evaluation.get("title", run.name))
    return Space(f"{run.name}/{path.stem}", f"{title}, {path.stem}", loaded, path, run)


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
        rows = sample_rows(rows, most, seed)
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
    maker = open_run(run)
    config = maker.config()
    out = []
    for space in spaces:
        told = space.embeddings.provenance
        same = all(told[name] == getattr(config, name) for name in ("method", "seed", "settings") if name in told)
        out.append(replace(space, run=maker) if space.run is None and same else space)
    if out == spaces:
        raise ConfigError(f"--run {run} made none of the embeddings: give the run that made them, or leave it out.")
    return out
