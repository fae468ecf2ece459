"""What is compared: one method with one configuration, in one or several seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nearkin.errors import ConfigError, DamagedFile, DataError
from nearkin.fileio import as_object
from nearkin.methods import METHODS
from nearkin.runs.readers import number
from nearkin.runs.run import FinishedRun, Run, Study, in_order

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


def measured(run: FinishedRun, metric: str) -> float | None:
    """A number of METRICS, None where it was not measured."""
    group, name = METRICS[metric][1]
    return number(as_object(run.evaluation.get(group)).get(name))


@dataclass(frozen=True)
class Side:
    """Runs by seed. ``seeded``: whether the method's result depends on the seed; if not, its run stands for every seed."""

    name: str
    runs: dict[int, FinishedRun]
    seeded: bool

    def run(self, seed: int) -> FinishedRun:
        """The run that stands for ``seed``."""
        return self.runs[seed] if self.seeded else next(iter(self.runs.values()))


def load_sides(paths: Sequence[Path]) -> list[Side]:
    """Finished runs and studies, grouped by folder, method and settings, in the order given.

    Runs that differ in nothing but the seed are one side, unless that leaves nothing to compare.

    Raises:
        DataError: a path that is no finished run or study. ConfigError: fewer than two things to compare.
    """
    runs: dict[Path, FinishedRun] = {}
    for path in paths:
        for run in _finished(path):
            runs.setdefault(run.folder.resolve(), run)
    groups: dict[tuple[Path, str, str], list[FinishedRun]] = {}
    for folder, run in runs.items():
        settings = json.dumps(run.config().settings, sort_keys=True)
        groups.setdefault((folder.parent, run.method, settings), []).append(run)
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


def _finished(path: Path) -> list[FinishedRun]:
    """The finished runs of a study, or the one in a run's folder."""
    study, run = Study(path), Run(path)
    if study.exists:
        runs = [_read(inside) for inside in study.runs() if inside.done]
        if not runs:
            raise DataError(f"{path} has no finished runs. Continue the study, then compare.")
        return in_order(runs)
    if run.exists:
        return [_read(run)]
    raise DataError(f"{path} is neither a run nor a study of nearkin. List what there is with 'nearkin runs FOLDER'.")


def _read(run: Run) -> FinishedRun:
    try:
        if run.config().data is not None:
            raise DataError(f"{run.folder} was trained by itself and never evaluated. Runs of a study can be compared.")
        return run.finished()
    except DamagedFile as damage:
        state = "is not finished" if damage.missing else f"has a file that {damage.reason}"
        hint = f"See 'nearkin doctor {run.folder}'."
        raise DataError(f"{run.folder} {state}: no evaluation to compare. {hint}") from damage
