"""What is compared: one method with one configuration, in one or several seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearkin.errors import ConfigError, DataError
from nearkin.fileio import as_object
from nearkin.methods import METHODS, rank
from nearkin.runs.find import is_run, is_study, runs_of
from nearkin.runs.findings import clean, number, whole
from nearkin.runs.readers import Damage, read_object

# name -> (title, where it stands in a layer's evaluation). The first four are accuracies of probes on test images.
METRICS: dict[str, tuple[str, tuple[str, str]]] = {
    "linear": ("linear probe", ("linear", "accuracy")),
    "knn": ("kNN probe", ("knn", "accuracy")),
    "linear_sgd": ("SGD probe, raw", ("linear_sgd", "accuracy")),
    "linear_sgd_standardised": ("SGD probe, standardised", ("linear_sgd_standardised", "accuracy")),
    "purity": ("neighbour purity", ("entanglement", "purity")),
    "silhouette": ("silhouette", ("clusters", "silhouette")),
    "rankme": ("RankMe", ("health", "rankme")),
}
PLAIN = ("rankme", "silhouette")  # numbers that are no shares, shown as they are


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, configuration and the evaluation of its primary layer."""

    folder: Path
    method: str
    title: str
    seed: int
    settings: str
    layer: str
    evaluation: dict[str, Any]

    def value(self, metric: str) -> float | None:
        """A number of METRICS, None where it was not measured."""
        group, name = METRICS[metric][1]
        return number(as_object(self.evaluation.get(group)).get(name))

    @property
    def embeddings(self) -> Path:
        """The Parquet of the primary layer."""
        return self.folder / "embeddings" / f"{self.layer}.parquet"


@dataclass(frozen=True)
class Side:
    """Runs by seed. ``seeded``: whether the method's result depends on the seed; if not, its run stands for every seed."""

    name: str
    runs: dict[int, Run]
    seeded: bool

    def run(self, seed: int) -> Run:
        """The run that stands for ``seed``."""
        return self.runs[seed] if self.seeded else next(iter(self.runs.values()))


def load_sides(paths: Sequence[Path]) -> list[Side]:
    """Finished runs and studies, grouped by folder, method and settings, in the order given.

    Runs that differ in nothing but the seed are one side, unless that leaves nothing to compare.

    Raises:
        DataError: a path that is no finished run or study. ConfigError: fewer than two things to compare.
    """
    runs: dict[Path, Run] = {}
    for path in paths:
        for run in _runs(path):
            runs.setdefault(run.folder.resolve(), run)
    groups: dict[tuple[Path, str, str], list[Run]] = {}
    for folder, run in runs.items():
        groups.setdefault((folder.parent, run.method, run.settings), []).append(run)
    every = list(runs.values())
    if len(groups) == 1 and len(every) > 1:
        return [Side(f"{run.title}, seed {run.seed}", {run.seed: run}, True) for run in every]
    if len(groups) < 2:
        raise ConfigError(f"{len(groups)} run is nothing to compare; give at least two runs, or a study of several.")
    titles = [members[0].title for members in groups.values()]
    sides: list[Side] = []
    for (parent, method, _), members in groups.items():
        name = members[0].title
        if titles.count(name) > 1:
            name += f" ({parent.parent.name if parent.name == 'runs' else members[0].folder.name})"
        if name in {side.name for side in sides}:
            name += f" [{members[0].folder}]"
        info = METHODS.get(method.partition("@")[0])
        sides.append(Side(name, {run.seed: run for run in members}, info is None or info.seeded))
    return sides


def _runs(path: Path) -> list[Run]:
    if is_study(path):
        finished = [_run(folder) for folder in runs_of(path) if (folder / "done.json").exists()]
        if not finished:
            raise DataError(f"{path} has no finished runs. Continue the study, then compare.")
        return sorted(finished, key=lambda run: (rank(run.method), run.method, run.seed))
    if is_run(path):
        return [_run(path)]
    raise DataError(f"{path} is neither a run nor a study of nearkin. List what there is with 'nearkin runs FOLDER'.")


def _run(folder: Path) -> Run:
    try:
        config = read_object(folder / "config.json")
        if "data" in config:
            raise DataError(f"{folder} was trained by itself and never evaluated. Runs of a study can be compared.")
        evaluation = read_object(folder / "evaluation.json")
    except Damage as damage:
        state = "is not finished" if damage.missing else f"has a file that {damage}"
        raise DataError(f"{folder} {state}: no evaluation to compare. See 'nearkin doctor {folder}'.") from damage
    method, seed, layer = config.get("method"), whole(config.get("seed")), evaluation.get("primary_layer")
    found = as_object(as_object(evaluation.get("layers")).get(layer if isinstance(layer, str) else ""))
    if (
        not isinstance(method, str)
        or seed is None
        or not isinstance(layer, str)
        or Path(layer).name != layer
        or not found
    ):
        raise DataError(f"{folder} does not say its method, seed or primary layer. See 'nearkin doctor {folder}'.")
    settings = json.dumps(config.get("settings"), sort_keys=True)
    return Run(folder, method, clean(evaluation.get("title") or method), seed, settings, layer, found)
