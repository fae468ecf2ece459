"""A run and a study: each is one folder, asked for what lies in it. No torch is imported before a run is opened."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DamagedFile, DataError, unknown
from nearkin.fileio import as_object, read_arrays, read_object, to_json, write_json
from nearkin.folders import CONFIG, RunFolder, StudyFolder
from nearkin.methods import Method, filled, open_method, rank
from nearkin.methods.registry import is_variant, names_encoder
from nearkin.runs.readers import clean

if TYPE_CHECKING:
    from nearkin.embeddings import Embeddings
    from nearkin.evaluate.evaluation import Evaluation
    from nearkin.methods.pretrained import PretrainedMethod
    from nearkin.search.knn_cache import KnnCache
    from nearkin.train.record import MetricsLog

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # images (N, 3, S, S) -> vectors (N, D)
_LARGEST = 1024  # pixels; what nearkin.data loads
_NOT_SEARCHED = {"node_modules", "__pycache__", "site-packages"}


@dataclass(frozen=True)
class RunConfig:
    """The contents of a run's config.json.

    Attributes:
        image_size: side in pixels of the images; None in old runs of studies, whose data.json has it.
        data, train_fingerprint: name or path of the images and a digest of those trained on. Runs of studies have neither.
        labels_fingerprint: a digest with the labels, of a method that trains on them.
        read: what was not read in the usual way, the range of deep gray images included (ReadOptions.given).
    """

    method: str
    seed: int
    settings: dict[str, Any]
    image_size: int | None = None
    data: str | None = None
    train_fingerprint: str | None = None
    labels_fingerprint: str | None = None
    read: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The object in config.json: entries that are None are left out, tuples are lists."""
        return {name: value for name, value in to_json(self).items() if value is not None}

    def changed_since(self, before: dict[str, Any]) -> list[str]:
        """Names of the entries in which an older config.json differs. Settings that came into being since have defaults."""
        if "settings" in before:
            before = before | {"settings": to_json(filled(self.method, as_object(before["settings"])))}
        return [name for name, value in self.to_json().items() if name in before and before[name] != value]


@dataclass(frozen=True)
class Embedder:
    """A finished run as a function: images uint8 (N, 3, S, S) -> float32 (N, D), the vectors of one layer."""

    method: Method
    layer: str

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.method.embed(images, (self.layer,))[self.layer]


def _embedder(method: Method, layer: str | None, compiled: bool) -> Embedder:
    chosen = layer or method.primary_layer
    if chosen not in method.layers:
        raise unknown("layer", chosen, method.layers)
    if compiled:
        method.compile_embedding(chosen)
    return Embedder(method, chosen)


@dataclass(frozen=True)
class Run(RunFolder):
    """One method, trained with one seed: the folder with its config, record, weights, vectors and evaluation."""

    @property
    def place(self) -> Path:
        """The folder as any process finds it."""
        return self.folder.resolve()

    @property
    def exists(self) -> bool:
        """Whether the folder is a run's: a config.json with method, seed and settings, or a damaged one beside other files.

        Other tools write files named config.json too; those are no runs.
        """
        try:
            return {"method", "seed", "settings"} <= set(read_object(self.config_file))
        except DamagedFile as damage:
            others = (self.done_file, self.evaluation_file, self.weights_file, self.checkpoint_file, self.metrics_file)
            return sum(file.is_file() for file in others) >= (2 if damage.missing else 1)

    @property
    def trained(self) -> bool:
        """Whether training is over. A method without weights never says so."""
        return self.weights_file.exists()

    @property
    def begun(self) -> bool:
        """Whether training has left anything that would be lost."""
        return self.trained or self.checkpoint_file.exists()

    @property
    def done(self) -> bool:
        """Whether a study has trained and evaluated it."""
        return self.done_file.exists()

    @property
    def study(self) -> Study | None:
        """The study of the run, None outside a study."""
        around = Study(self.folder.resolve().parent.parent)
        return around if around.data_file.exists() else None

    def config(self) -> RunConfig:
        """The contents of config.json. Raises DataError if the run is missing or damaged."""
        if not self.config_file.exists():
            inside = next((run for run in Study(self.folder).runs() if run.config_file.exists()), None)
            if inside is not None:
                raise DataError(f"{self.folder} is a study; give one of its runs, e.g. {inside.folder}.")
            raise DataError(f"no run at {self.folder}: no {CONFIG}, as 'nearkin fit' and 'nearkin study' write it.")
        told = read_object(self.config_file, method=str, seed=int, settings=dict)
        return RunConfig(**{name: told.get(name) for name in RunConfig.__dataclass_fields__})  # type: ignore[arg-type]

    def image_size(self) -> int:
        """Side in pixels of the images that the run was trained on: its own record or its study's.

        Raises:
            ConfigError: neither says. DataError: what they say is no size, or there is no run.
        """
        own: object = self.config().image_size
        study = self.study
        if own is None and study is not None:
            shape = read_object(study.data_file).get("image_shape")
            own = shape[-1] if isinstance(shape, list) and shape else None
        if own is None:
            raise ConfigError(
                f"--run {self.folder} does not say its image size; leave it in its study, or make it with 'nearkin fit'."
            )
        if not isinstance(own, int) or not 1 <= own <= _LARGEST:
            raise DataError(f"{self.folder} says that its images have {str(own)[:50]} pixels a side; that cannot be.")
        return own

    def record(self) -> MetricsLog:
        """The lines that training has logged."""
        from nearkin.train.record import MetricsLog

        return MetricsLog(self.metrics_file)

    def open(self, layer: str | None = None, *, device: str = "auto", compiled: bool = False) -> Embedder:
        """The method with its weights, ready to embed images as large as those that it was trained on.

        Args:
            layer: None for the one that downstream work should use. compiled: compile it, which takes seconds.
        Raises:
            ConfigError: no such layer, or nothing to compile. DataError: no run there, or a damaged one.
        """
        size = self.image_size()
        method = open_method(self.folder, (3, size, size), device)
        return _embedder(method, layer, compiled)

    def embeddings(self, layer: str) -> Embeddings:
        """The vectors of one layer, as the study saved them. Raises DataError."""
        from nearkin.embeddings import Embeddings

        return Embeddings.load(self.embeddings_file(layer))

    def map(self, layer: str, kind: str) -> tuple[NDArray[np.str_], NDArray[np.float32]] | None:
        """Ids (M,) and coordinates (M, 2) of the map ("tsne", "pca") that the evaluation drew; None where there is none.

        Raises:
            DataError: it is damaged.
        """
        if not self.maps_file.exists():
            return None
        arrays = read_arrays(self.maps_file)
        ids, coords = arrays.get(f"{layer}/ids"), arrays.get(f"{layer}/{kind}")
        if ids is None or coords is None:
            return None
        if coords.shape != (ids.size, 2) or coords.dtype.kind != "f":
            raise DataError(
                f"{self.maps_file} is damaged ({layer}/{kind} is no map of its images). Delete it and run the study again."
            )
        return ids.ravel().astype(str), coords

    @property
    def search(self) -> KnnCache:
        """A search that caches its lists in the run's folder, so that the evaluation and the uses share them."""
        from nearkin.search.knn_cache import KnnCache

        return KnnCache(self.nearest_folder)

    def finished(self) -> FinishedRun:
        """The run with its evaluation. Raises DamagedFile if the evaluation is missing or damaged."""
        from nearkin.evaluate.evaluation import read_evaluation

        evaluation = read_evaluation(self.evaluation_file)
        if Path(evaluation.primary_layer).name != evaluation.primary_layer:  # would lead out of the folder
            raise DamagedFile(self.evaluation_file, "has no evaluation of its primary layer")
        digest = str(read_object(self.done_file).get("digest", "")) if self.done else ""
        return FinishedRun(self.folder, evaluation, digest)


@functools.lru_cache(maxsize=1)  # a command asks for its settings, its size and the encoder itself
def _named(name: str) -> PretrainedMethod:
    from nearkin.methods.pretrained import PretrainedMethod

    return PretrainedMethod({"encoder": name}, (3, 32, 32))


@dataclass(frozen=True)
class NamedEncoder(Run):
    """An encoder that others trained, asked for by its name: a run that nobody had to train. ``folder`` holds the name.

    Opening it loads the weights, from the hub's cache or the hub.
    """

    @property
    def name(self) -> str:
        return self.folder.as_posix()

    @property
    def place(self) -> Path:
        return self.folder

    def config(self) -> RunConfig:
        """Method, settings, and the side that the encoder's own preprocessing asks for."""
        method = _named(self.name)
        return RunConfig("pretrained", 0, method.settings, method.best_side)

    def image_size(self) -> int:
        """Side in pixels at which files are best decoded for the encoder."""
        return _named(self.name).best_side

    def open(self, layer: str | None = None, *, device: str = "auto", compiled: bool = False) -> Embedder:
        """See :meth:`Run.open`. Raises also what :func:`nearkin.nets.pretrained.open_pretrained` raises."""
        method = _named(self.name)
        method.to(device)
        return _embedder(method, layer, compiled)


def open_run(folder: Path) -> Run:
    """The run in a folder, or the encoder of that name where it is one ("timm:NAME") and no such folder exists."""
    return NamedEncoder(folder) if names_encoder(folder.as_posix()) and not folder.exists() else Run(folder)


@dataclass(frozen=True)
class FinishedRun(Run):
    """A run that has been evaluated.

    Attributes:
        evaluation: what evaluation.json says of it. digest: of that; what was made of the run is stale when this changes.
    """

    evaluation: Evaluation = field(compare=False, repr=False)
    digest: str

    @property
    def method(self) -> str:
        """The method's name."""
        return self.evaluation.method

    @property
    def title(self) -> str:
        """The method's name for people, one printable line."""
        return clean(self.evaluation.title or self.evaluation.method)

    @property
    def seed(self) -> int:
        """The seed that the run was trained with."""
        return self.evaluation.seed

    @property
    def layer(self) -> str:
        """The layer that downstream work should use."""
        return self.evaluation.primary_layer

    @property
    def accuracy(self) -> float | None:
        """The linear probe's, on test images, in [0, 1]; None without labels."""
        score = self.evaluation.primary.linear
        return None if score is None else score.accuracy

    def named(self) -> dict[str, str]:
        """The run's names, as the uses of a study write them."""
        return {"run": self.name, "method": self.method, "title": self.title, "layer": self.layer}

    def embeddings(self, layer: str | None = None) -> Embeddings:
        """The vectors of one layer, by default :attr:`layer`. Raises DataError."""
        return super().embeddings(layer or self.layer)


def saved_result(path: Path, key: str, make: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """The JSON object in a file, if its "key" is this one; else what ``make`` returns, saved there under the key.

    None is not saved.
    """
    before = read_object(path) if path.exists() else {}
    if before.get("key") == key:
        return before
    made = make()
    if made is None:
        return None
    made = {"key": key} | made
    write_json(path, made)
    return made


def in_order(runs: list[FinishedRun]) -> list[FinishedRun]:
    """Runs as a study's table lists them: by method, then by seed."""
    return sorted(runs, key=lambda run: (rank(run.method), run.method, run.seed))


def first_seed(runs: list[FinishedRun]) -> list[FinishedRun]:
    """One run per method: that of the lowest seed. Variants (NAME@...) are left out."""
    out: dict[str, FinishedRun] = {}
    for run in runs:
        if not is_variant(run.method):
            out.setdefault(run.method, run)
    return list(out.values())


@dataclass(frozen=True)
class Study(StudyFolder):
    """Many runs on the same images: the folder with what was asked for, the runs, and what was made of them."""

    @property
    def exists(self) -> bool:
        """Whether the folder is a study's: it has a study.json, or runs and results."""
        if self.study_file.is_file():
            return True
        return self.runs_folder.is_dir() and (self.data_file.is_file() or self.results_file.is_file())

    def run(self, name: str) -> Run:
        """The run METHOD-sSEED, whether or not it is there."""
        return Run(self.runs_folder / name)

    def runs(self) -> list[Run]:
        """All runs, by name. Every folder in runs/ counts, however damaged."""
        try:
            return sorted((Run(path) for path in self.runs_folder.iterdir() if path.is_dir()), key=lambda run: run.name)
        except OSError:
            return []

    def finished(self) -> list[FinishedRun]:
        """All evaluated runs, in the order of the study's table. Raises DamagedFile."""
        return in_order([run.finished() for run in self.runs() if run.done])


def find_runs(folder: Path) -> tuple[list[Study], list[Run]]:
    """Studies and single runs at or below ``folder``, sorted. Links are not followed; hidden folders are left out.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}. Give a folder that holds studies or runs, such as the one given to -o.")
    studies: list[Study] = []
    runs: list[Run] = []
    for name, below, _ in os.walk(folder):
        study, run = Study(Path(name)), Run(Path(name))
        if study.exists:
            studies.append(study)
        elif run.exists:
            runs.append(run)
        else:
            below[:] = [inner for inner in below if not inner.startswith(".") and inner not in _NOT_SEARCHED]
            continue
        below.clear()
    return sorted(studies, key=lambda study: study.folder), sorted(runs, key=lambda run: run.folder)
