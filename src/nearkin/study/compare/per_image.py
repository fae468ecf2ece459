"""Per-image results of a run, made again from its embeddings with the probes of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.evaluate.knn import knn_predictions
from nearkin.evaluate.linear import linear_predictions, linear_sgd_predictions
from nearkin.runs.run import FinishedRun
from nearkin.study.compare.sides import measured

PROBES = ("linear", "knn", "linear_sgd", "linear_sgd_standardised")
_TOLERANCE = 0.002  # of accuracy: what another number of threads may change


class CannotTell(Exception):
    """Why a question has no answer, in words that follow "cannot be told:"."""


@dataclass
class Images:
    """Reads each embedding once at a time and remembers results, not vectors.

    Attributes:
        say: told what is being computed.
    """

    say: Callable[[str], None] = lambda text: None
    _tests: dict[Path, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    _right: dict[tuple[Path, str], NDArray[np.bool_]] = field(default_factory=dict)
    _loaded: tuple[Path, Embeddings] | None = None

    def test_set(self, run: FinishedRun) -> tuple[tuple[str, str], ...]:
        """(id, class name) of the labelled test images, sorted by id. Raises CannotTell."""
        if run.folder not in self._tests:
            test = self._load(run).part("test")
            names = [name or "" for name in test.names()]
            self._tests[run.folder] = tuple(sorted(zip(test.ids.tolist(), names, strict=True)))
        return self._tests[run.folder]

    def right(self, run: FinishedRun, probe: str) -> NDArray[np.bool_]:
        """Whether the probe is right about each labelled test image, bool (N,), in the order of the ids.

        Raises:
            CannotTell: no vectors or labels, or the accuracy made again is not the run's own.
        """
        key = (run.folder, probe)
        if key not in self._right:
            self.say(f"{run.folder.name}: {probe}")
            self._right[key] = _right(self._load(run), probe, run.seed)
        right, stated = self._right[key], measured(run, probe)
        if stated is None or abs(float(right.mean()) - stated) > max(_TOLERANCE, 2.5 / len(right)):
            told = "none" if stated is None else f"{stated:.4f}"
            raise CannotTell(
                f"the probe made again from {run.folder.name}'s vectors gives {right.mean():.4f}, not {told}"
            )
        return right

    def _load(self, run: FinishedRun) -> Embeddings:
        if self._loaded is None or self._loaded[0] != run.folder:
            try:
                self._loaded = (run.folder, run.embeddings())
            except (DataError, ValueError, KeyError, TypeError) as error:
                raise CannotTell(f"no readable vectors of {run.folder.name}") from error
        return self._loaded[1]


def _right(found: Embeddings, probe: str, seed: int) -> NDArray[np.bool_]:
    if found.labels is None:
        raise CannotTell("the images have no labels")
    parts = []
    for name in ("train", "val", "test"):
        part = found.part(name)
        known = np.flatnonzero(part.labels >= 0) if part.labels is not None else np.arange(0)
        if not len(known):
            raise CannotTell(f"no labelled {name} images")
        parts.append(part.take(known))
    train, val, test = parts
    assert train.labels is not None and val.labels is not None and test.labels is not None
    a, b, classes = (train.Z, train.labels), (val.Z, val.labels), len(found.classes)
    if probe == "linear":
        predicted = linear_predictions(a, b, test.Z, classes)[0]
    elif probe == "knn":
        predicted = knn_predictions(a, b, test.Z, classes)[0]
    else:
        standardized = probe == "linear_sgd_standardised"
        predicted = linear_sgd_predictions(a, test.Z, classes, seed=seed, standardized=standardized)
    right: NDArray[np.bool_] = (predicted == test.labels)[np.argsort(test.ids, kind="stable")]
    return right
