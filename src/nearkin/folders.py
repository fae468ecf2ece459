"""The layout of the folders of a run and of a study. File names are defined here and nowhere else.

:class:`nearkin.runs.run.Run` and :class:`nearkin.runs.run.Study` read the files; code below them uses the paths only.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTS = "weights.safetensors"  # written when training is over: its presence says so
CHECKPOINT = "checkpoint.safetensors"
SNAPSHOTS = "snapshots"
METRICS = "metrics.jsonl"
CONFIG = "config.json"
TEMPORARY = ".tmp"  # behind the name of a file that is being written


def run_name(method: str, seed: int) -> str:
    """Name of the folder of a study's run: METHOD-sSEED.

    What a file system may not take in a variant's name (":" and "/" of an encoder's) becomes "_", and a digest of the
    whole keeps such names apart.
    """
    safe = re.sub(r"[^\w.,@+=-]", "_", method)[:150]
    if safe != method:
        safe += f"-{hashlib.sha256(method.encode()).hexdigest()[:8]}"
    return f"{safe}-s{seed}"


class _Below:
    """An attribute of a folder: the path of one file in it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Path:
        path: Path = owner.folder / self.name
        return path


@dataclass(frozen=True)
class RunFolder:
    """The paths in the folder of a run. The files need not exist."""

    folder: Path

    config_file = _Below(CONFIG)  # method, seed, settings, image size
    metrics_file = _Below(METRICS)  # the record: a line per step and per epoch
    checkpoint_file = _Below(CHECKPOINT)
    weights_file = _Below(WEIGHTS)
    snapshots_folder = _Below(SNAPSHOTS)  # weights of some epochs, until the test losses are computed
    embeddings_folder = _Below("embeddings")
    nearest_folder = _Below("nearest")  # cached lists of neighbours
    maps_file = _Below("maps.npz")
    evaluation_file = _Below("evaluation.json")
    done_file = _Below("done.json")  # the last one: a digest of the evaluation

    @property
    def name(self) -> str:
        """Its name in a study, see :func:`run_name`."""
        return self.folder.name

    def embeddings_file(self, layer: str) -> Path:
        """The Parquet with the vectors of one layer."""
        return self.embeddings_folder / f"{layer}.parquet"


@dataclass(frozen=True)
class StudyFolder:
    """The paths in the folder of a study."""

    folder: Path

    study_file = _Below("study.json")  # what was asked for
    data_file = _Below("data.json")  # what the images are
    runs_folder = _Below("runs")
    uses_folder = _Below("uses")  # the result of each use of an embedding, one file per run
    uses_file = _Below("uses.json")
    results_file = _Below("results.json")
    markdown_file = _Below("results.md")
    thumbnails_file = _Below("thumbnails.npz")
    report_file = _Below("report.html")

    def use_file(self, use: str, run: str = "") -> Path:
        """The file of a use's result, or of one run's where it has a file for each: use_file("clusters", "vicreg-s0")."""
        return self.uses_folder / use / f"{run}.json" if run else self.uses_folder / f"{use}.json"

    def run(self, name: str) -> RunFolder:
        """The folder of the run of that name."""
        return RunFolder(self.runs_folder / name)
