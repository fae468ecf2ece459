"""Whether a run or a study is whole, and what it is in one line.

Whole means: everything expected is there, readable, and what the run itself wrote. No file is trusted, and no torch imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nearkin.errors import ConfigError, DamagedFile, DataError
from nearkin.fileio import as_object, json_digest, read_object, to_json
from nearkin.folders import TEMPORARY, run_name
from nearkin.methods import MethodInfo, method_info, planned_runs
from nearkin.runs.readers import (
    RecordCounts,
    VectorCounts,
    check_embeddings,
    check_metrics,
    check_npz,
    check_safetensors,
    clean,
    number,
    read_curves,
    whole,
)
from nearkin.runs.run import Run, Study

FINISHED, INTERRUPTED, BROKEN = "finished", "interrupted", "broken"


@dataclass(frozen=True)
class Finding:
    """Something about a file or folder that the user should know.

    Attributes:
        level: "broken" (results cannot be trusted or read), "warning" (harmless, but not as it should be) or "note".
        path: the file or folder. what: one line. fix: what to do about it, one line; empty for notes.
    """

    level: str
    path: Path
    what: str
    fix: str = ""


@dataclass
class Checked:
    """What a check found.

    Attributes:
        folder: of the run or study. findings: broken ones first. files: how many files were read and found whole.
        complete: whether everything has been done. planned: runs that a study asks for.
    """

    folder: Path
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    complete: bool = True
    planned: int = 0

    @property
    def broken(self) -> list[Finding]:
        """The findings for which results cannot be trusted."""
        return [finding for finding in self.findings if finding.level == "broken"]

    @property
    def state(self) -> str:
        """ "broken" with any broken finding, else "finished" or "interrupted"."""
        return BROKEN if self.broken else FINISHED if self.complete else INTERRUPTED

    @property
    def problem(self) -> str | None:
        """The first thing that is broken, in one line."""
        return next((clean(f"{finding.path.name} {finding.what}") for finding in self.broken), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: state and findings."""
        findings = [to_json(replace(finding, path=Path(clean(finding.path)))) for finding in self.findings]
        return {"path": clean(self.folder), "state": self.state, "files": self.files, "findings": findings}

    def add(self, level: str, path: Path, what: str, fix: str = "") -> None:
        """Note something about a file of the folder, or the folder itself."""
        self.findings.append(Finding(level, path, clean(what), clean(fix)))

    def read(self, path: Path, check: Callable[[Path], Any], fix: str, *, optional: bool = False) -> Any:
        """Return ``check(path)``, or None after noting the damage."""
        try:
            content = check(path)
        except DamagedFile as damage:
            if not (optional and damage.missing):
                self.add("broken", path, damage.reason, fix)
            return None
        self.files += 1
        return content

    def sorted(self) -> Checked:
        """Itself, with broken findings first."""
        self.findings.sort(key=lambda finding: finding.level != "broken")
        return self


def examine(folder: Path) -> list[Checked]:
    """Check a run, or a study and then each of its runs.

    Raises:
        DataError: ``folder`` is neither.
    """
    study = Study(folder)
    if study.exists:
        return [check_study(folder), *(check_run(run.folder) for run in study.runs())]
    if Run(folder).exists:
        return [check_run(folder)]
    raise DataError(f"{folder} is neither a run nor a study of nearkin. List what there is with 'nearkin runs FOLDER'.")


def check_run(folder: Path, *, deep: bool = True) -> Checked:
    """Check one run. Not ``deep``: the JSON files and what is missing only, without reading weights and vectors."""
    out, run = Checked(folder), Run(folder)
    again = f"delete {folder} and run the same command again: the run is made anew"
    config = out.read(run.config_file, read_object, again)
    settings = as_object(as_object(config).get("settings"))
    info = _info(out, run, as_object(config))
    done = out.read(run.done_file, read_object, f"delete {run.done_file} and run again", optional=True)
    single = config is not None and "data" in config  # of 'nearkin fit' or an estimator: trained, never evaluated
    if single:
        out.complete = run.trained or (info is not None and not info.weights)
    else:
        out.complete = done is not None or run.done
    if out.complete and not single:
        _check_evaluation(out, run, as_object(done), deep)
    _leftovers(out, f"**/*{TEMPORARY}")
    if out.complete and run.checkpoint_file.exists():
        out.add("warning", run.checkpoint_file, "is left over: the run is finished", "delete it to free space")
    if not out.complete:
        part = "trained, not evaluated yet" if run.trained else "in the middle of training"
        out.add("note", folder, f"interrupted, {part}", "run the same command again: it continues where it was")
    needs = out.complete and info is not None
    if info is not None and info.trained:
        _check_metrics(out, run, settings, needed=needs)
    if deep:
        if needs and info is not None and info.weights or run.trained:
            out.read(run.weights_file, check_safetensors, again)
        for name in info.own_files(settings) if info is not None and needs else ():
            out.read(folder / name, check_safetensors if name.endswith("safetensors") else read_object, again)
        out.read(run.checkpoint_file, check_safetensors, "delete it: training starts again", optional=True)
    return out.sorted()


def _info(out: Checked, run: Run, config: dict[str, Any]) -> MethodInfo | None:
    name = config.get("method")
    try:
        return method_info(name) if isinstance(name, str) else None
    except ConfigError:
        what = f"unknown method '{name}': which files belong to it cannot be told"
        out.add("warning", run.config_file, what)
        return None


def _check_evaluation(out: Checked, run: Run, done: dict[str, Any], deep: bool) -> None:
    """evaluation.json against done.json, the maps, and one Parquet per evaluated layer."""
    again = f"delete {run.evaluation_file} and {run.done_file}, then run again: weights are kept, the rest is made anew"
    evaluation = out.read(run.evaluation_file, read_object, again)
    if evaluation is None:
        return
    if done and done.get("digest") != json_digest(evaluation):
        what = "is not what the run wrote: its digest differs from done.json's"
        out.add("broken", run.evaluation_file, what, again)
    layers = as_object(evaluation.get("layers"))
    if evaluation.get("primary_layer") not in layers:
        out.add("broken", run.evaluation_file, "has no evaluation of its primary layer", again)
    if not deep:
        return
    out.read(run.maps_file, check_npz, again)
    wanted = _split_sizes(run)
    for layer, evaluated in layers.items():
        if Path(layer).name != layer:  # a name with separators would lead out of the folder
            out.add("broken", run.evaluation_file, f"names an impossible layer '{layer}'", again)
            continue
        path = run.embeddings_file(layer)
        vectors: VectorCounts | None = out.read(path, check_embeddings, again)
        if vectors is None:
            continue
        dim = as_object(evaluated).get("dim")
        if wanted is not None and vectors.splits != wanted:
            what = f"holds rows {_counts(vectors.splits)}; data.json says {_counts(wanted)}"
            out.add("broken", path, what, again)
        if dim != vectors.dim:
            out.add("broken", path, f"holds {vectors.dim} dimensions; evaluation.json says {clean(dim)}", again)
        if vectors.repeated:
            out.add("broken", path, f"holds {vectors.repeated} rows whose id occurs before", again)


def _counts(splits: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(splits.items())) or "none"


def _split_sizes(run: Run) -> dict[str, int] | None:
    """Rows by split as the study's data.json has them; None outside a study."""
    study = run.study
    sizes = {} if study is None else as_object(_object(study.data_file).get("study_splits"))
    return {name: count for name, size in sizes.items() if (count := whole(size))} or None


def _check_metrics(out: Checked, run: Run, settings: dict[str, Any], *, needed: bool) -> None:
    path = run.metrics_file
    fix = f"delete {out.folder} and run again to train anew; without that, only the curves are lost"
    record: RecordCounts | None = out.read(path, check_metrics, fix, optional=not needed)
    if record is None:
        return
    for problem in record.problems:
        out.add("broken", path, problem, fix)
    if record.unfinished and out.complete:
        out.add("broken", path, "its last line is cut off", fix)
    elif record.unfinished:
        out.add("note", path, "its last line is cut off by the interruption", "nothing: continuing rewrites it")
    epochs = number(settings.get("epochs"))
    if out.complete and epochs is not None and not record.problems and record.epochs < epochs:
        out.add("broken", path, f"ends at epoch {record.epochs} of {epochs:g}", fix)


def _leftovers(out: Checked, pattern: str) -> None:
    """Temporary files of interrupted writes. Harmless: nothing reads them."""
    try:
        files = sorted(out.folder.glob(pattern))
    except OSError as error:
        out.add("warning", out.folder, f"cannot be listed: {error.strerror}")
        return
    files += [path for path in (out.folder / ".writable",) if path.exists()]
    for path in files:
        out.add("warning", path, "is left over from an interrupted write", "delete it, if no nearkin is running here")


def check_study(folder: Path) -> Checked:
    """Check a study's own files and which of its runs are missing; not the runs themselves."""
    out, study = Checked(folder), Study(folder)
    again = "run the same study command again: it is made anew, finished runs are kept"
    told = out.read(
        study.study_file, read_object, "take the command from results.json or your notes and use another -o"
    )
    data = out.read(study.data_file, read_object, f"delete {study.data_file} and {again}")
    planned = _planned(out, study, as_object(as_object(told).get("config")))
    done = {run.name for run in study.runs() if run.done}
    out.planned = len(planned)
    missing = [name for name in planned if name not in done]
    out.complete = not missing and study.results_file.exists()
    if not missing and not out.complete:
        out.add("note", folder, "interrupted, all runs are done but not collected", again)
    if missing:
        text = f"{len(planned) - len(missing)} of {len(planned)} runs done; missing: {', '.join(missing)}"
        out.add("note", study.runs_folder, text, "run the same study command again: it continues where it was")
    # A report is made from results.json: a report without one means that the file was lost.
    results = out.read(study.results_file, read_object, again, optional=not study.report_file.exists())
    if results is not None:
        runs = results.get("runs")
        collected = {str(as_object(run).get("id")) for run in runs} if isinstance(runs, list) else set()
        if collected != done:
            text = f"tells of {len(collected)} runs; {len(done)} are finished"
            out.add("warning", study.results_file, text, "run the same study command again: it collects what is there")
    for path, check in ((study.uses_file, read_object), (study.thumbnails_file, check_npz)):
        out.read(path, check, f"delete it, then {again}", optional=not out.complete)
    if data is not None and not as_object(data.get("study_splits")):
        out.add("broken", study.data_file, "has no sizes of the splits", f"delete it, then {again}")
    if out.complete and not study.report_file.exists():
        out.add("warning", study.report_file, "is missing", f"make it with: nearkin report {folder}")
    _leftovers(out, f"*{TEMPORARY}")
    return out.sorted()


def _planned(out: Checked, study: Study, config: dict[str, Any]) -> list[str]:
    """Names of the runs that the study's configuration asks for."""
    methods, seeds = config.get("methods"), config.get("seeds")
    try:
        if not (isinstance(methods, list) and isinstance(seeds, list) and methods and seeds):
            raise ValueError("no methods or seeds")
        if not all(whole(seed) is not None for seed in seeds) or not all(isinstance(name, str) for name in methods):
            raise ValueError("methods or seeds of the wrong type")
        return [run_name(name, seed) for name, seed in planned_runs(tuple(methods), tuple(seeds))]
    except (ConfigError, ValueError) as error:
        if not any(finding.path == study.study_file for finding in out.findings):
            fix = "use another -o for a new study; its runs can still be read one by one"
            out.add("broken", study.study_file, f"does not say which runs belong to it: {error}", fix)
        return []


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
        return to_json(self) | {"path": clean(self.path)}  # type: ignore[no-any-return]

    def _repr_html_(self) -> str:
        """A table and the curves of training, for notebooks."""
        from nearkin.format import curves_html, facts_html

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
        curves = read_curves(Run(self.path).metrics_file)
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
    problem: str | None
    runs: tuple[RunSummary, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        runs = [run.to_dict() for run in self.runs]
        return to_json(replace(self, runs=())) | {"path": clean(self.path), "runs": runs}  # type: ignore[no-any-return]


def describe_run(path: str | Path) -> RunSummary:
    """The run in a folder, to look at in a notebook.

    Raises:
        DataError: no run there.
    """
    folder = Path(path)
    if not Run(folder).exists:
        raise DataError(f"{folder} is no run of nearkin. List what there is with 'nearkin runs FOLDER'.")
    return summarize_run(folder)


def summarize_run(folder: Path) -> RunSummary:
    """One run; its JSON files are checked, weights and vectors are not read."""
    checked, run = check_run(folder, deep=False), Run(folder)
    config, evaluation = _object(run.config_file), _object(run.evaluation_file)
    planned = whole(as_object(config.get("settings")).get("epochs"))
    epochs = None
    try:
        epochs = check_metrics(run.metrics_file).epochs
    except DamagedFile:
        epochs = 0 if planned is not None and checked.state == INTERRUPTED else None
    layer = evaluation.get("primary_layer")
    of_layer = as_object(evaluation.get("layers")).get(layer if isinstance(layer, str) else "")
    linear = as_object(as_object(of_layer).get("linear"))
    ends = linear.get("interval")
    bounds = [number(end) for end in ends] if isinstance(ends, list) and len(ends) == 2 else [None, None]
    data = config.get("data") or (run.study and _object(run.study.data_file).get("name"))
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
        accuracy=number(linear.get("accuracy")),
        interval=None if bounds[0] is None or bounds[1] is None else (bounds[0], bounds[1]),
        problem=checked.problem,
    )


def summarize_study(folder: Path) -> StudySummary:
    """One study and all its runs."""
    checked, study = check_study(folder), Study(folder)
    runs = tuple(summarize_run(run.folder) for run in study.runs())
    state = BROKEN if any(run.state == BROKEN for run in runs) else checked.state
    data = _object(study.data_file).get("name")
    done = sum(run.done for run in study.runs())
    name = None if data is None else clean(data)
    return StudySummary(folder, state, name, done, max(checked.planned, done), checked.problem, runs)


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or {} if it holds none."""
    try:
        return read_object(path)
    except DamagedFile:
        return {}
