"""A run or a study in one line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nearkin.errors import DataError
from nearkin.fileio import as_object
from nearkin.runs.find import is_run, runs_of
from nearkin.runs.findings import clean, number, whole
from nearkin.runs.readers import Damage, read_metrics, read_object
from nearkin.runs.verify import check_run, check_study


@dataclass(frozen=True)
class RunSummary:
    """A run's folder in one line; fields that its files do not tell are None.

    Attributes:
        path: the folder. state: "finished", "interrupted" or "broken"; problem: the first thing that is wrong.
        data: name or path of the data. epochs: done; epochs_planned: asked for; both None for what is not trained.
        layer: the primary layer. accuracy: its linear probe on test images, in [0, 1]; interval: 95 %, over images.
    """

    path: Path
    state: str
    method: str | None
    seed: int | None
    data: str | None
    epochs: int | None
    epochs_planned: int | None
    layer: str | None
    accuracy: float | None
    interval: tuple[float, float] | None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"path": clean(str(self.path))}

    def _repr_html_(self) -> str:
        """A table and the curves of training, for notebooks."""
        from nearkin.format import curves_html, facts_html
        from nearkin.runs.curves import read_curves

        score = None if self.accuracy is None else f"{100 * self.accuracy:.2f} %"
        if score and self.interval:
            score += f" [{100 * self.interval[0]:.1f}, {100 * self.interval[1]:.1f}]"
        epochs = None if self.epochs is None else f"{self.epochs} of {self.epochs_planned or '?'}"
        facts = {
            "run": self.path.name,
            "state": self.state,
            "method": self.method,
            "seed": self.seed,
            "data": self.data,
            "epochs": epochs,
            "layer": self.layer,
            "linear probe, test": score,
            "problem": self.problem,
        }
        curves = read_curves(self.path / "metrics.jsonl")
        drawn = "".join(curves_html(title, by_split) for title, by_split in curves.items())
        return facts_html({name: value for name, value in facts.items() if value is not None}) + drawn


@dataclass(frozen=True)
class StudySummary:
    """A study's folder in one line, and its runs.

    Attributes:
        done, planned: runs. state: of the study's own files; "broken" also when one of its runs is.
    """

    path: Path
    state: str
    data: str | None
    done: int
    planned: int
    runs: tuple[RunSummary, ...]
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        runs = [run.to_dict() for run in self.runs]
        return {
            "path": clean(str(self.path)), "state": self.state, "data": self.data, "done": self.done,
            "planned": self.planned, "problem": self.problem, "runs": runs,
        }  # fmt: skip


def describe_run(path: str | Path) -> RunSummary:
    """The run in a folder, to look at in a notebook.

    Raises:
        DataError: no run there.
    """
    folder = Path(path)
    if not is_run(folder):
        raise DataError(f"{folder} is no run of nearkin. List what there is with 'nearkin runs FOLDER'.")
    return summarize(folder)


def summarize(folder: Path) -> RunSummary:
    """One run; its JSON files are checked, weights and vectors are not read."""
    checked = check_run(folder, deep=False)
    config, evaluation = _object(folder / "config.json"), _object(folder / "evaluation.json")
    settings = as_object(config.get("settings"))
    planned = whole(settings.get("epochs"))
    epochs = None
    try:
        epochs = read_metrics(folder / "metrics.jsonl").epochs
    except Damage:
        epochs = 0 if planned is not None and checked.state == "interrupted" else None
    layer = evaluation.get("primary_layer")
    score = as_object(
        as_object(as_object(evaluation.get("layers")).get(layer if isinstance(layer, str) else "")).get("linear")
    )
    ends = score.get("interval")
    bounds = [number(end) for end in ends] if isinstance(ends, list) and len(ends) == 2 else [None, None]
    data = config.get("data") or _object(folder.resolve().parent.parent / "data.json").get("name")
    method = config.get("method") or evaluation.get("method")
    return RunSummary(
        path=folder,
        state=checked.state,
        method=None if method is None else clean(method),
        seed=whole(config.get("seed")),
        data=None if data is None else clean(data),
        epochs=epochs,
        epochs_planned=planned if epochs is not None else None,
        layer=None if layer is None else clean(layer),
        accuracy=number(score.get("accuracy")),
        interval=None if bounds[0] is None or bounds[1] is None else (bounds[0], bounds[1]),
        problem=_first(checked.findings),
    )


def summarize_study(folder: Path) -> StudySummary:
    """One study and all its runs."""
    checked = check_study(folder)
    runs = tuple(summarize(run) for run in runs_of(folder))
    state = "broken" if any(run.state == "broken" for run in runs) else checked.state
    data = _object(folder / "data.json").get("name")
    done = sum((run.path / "done.json").exists() for run in runs)
    name = None if data is None else clean(data)
    return StudySummary(folder, state, name, done, max(checked.planned, done), runs, _first(checked.findings))


def _object(path: Path) -> dict[str, Any]:
    try:
        return read_object(path)
    except Damage:
        return {}


def _first(findings: list[Any]) -> str | None:
    found = next((f for f in findings if f.level == "broken"), None)
    return None if found is None else clean(f"{found.path.name} {found.what}")
