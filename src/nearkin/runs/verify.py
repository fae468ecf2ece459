"""Whether a run or a study is whole: everything expected is there, readable, and what the run itself wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nearkin.errors import ConfigError, DataError
from nearkin.fileio import as_object, json_digest
from nearkin.methods import MethodInfo, method_info, planned_runs
from nearkin.runs.find import is_run, is_study, runs_of
from nearkin.runs.findings import Finding, clean, number, whole
from nearkin.runs.readers import (
    Damage,
    Vectors,
    check_embeddings,
    check_npz,
    check_safetensors,
    read_metrics,
    read_object,
)

FINISHED, INTERRUPTED, BROKEN = "finished", "interrupted", "broken"


@dataclass
class Checked:
    """Attributes:
    folder: of the run or study. state: "finished", "interrupted" or "broken". findings: broken ones first.
    files: how many files were read and found whole. planned: runs that a study asks for.
    """

    folder: Path
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    complete: bool = True
    planned: int = 0

    @property
    def state(self) -> str:
        """ "broken" with any broken finding, else whether everything has been done."""
        if any(finding.level == "broken" for finding in self.findings):
            return BROKEN
        return FINISHED if self.complete else INTERRUPTED

    def add(self, level: str, name: str, what: str, fix: str = "") -> None:
        """Note something about the file ``name`` of the folder."""
        self.findings.append(Finding(level, self.folder / name if name else self.folder, clean(what), clean(fix)))

    def read(self, name: str, check: Callable[[Path], Any], fix: str, *, optional: bool = False) -> Any:
        """What ``check`` returns for the file ``name``, or None after noting its damage."""
        try:
            found = check(self.folder / name)
        except Damage as damage:
            if not (optional and damage.missing):
                self.add("broken", name, str(damage), fix)
            return None
        self.files += 1
        return found


def examine(folder: Path) -> list[Checked]:
    """Check a run, or a study and then each of its runs.

    Raises:
        DataError: ``folder`` is neither.
    """
    if is_study(folder):
        return [check_study(folder), *(check_run(run) for run in runs_of(folder))]
    if is_run(folder):
        return [check_run(folder)]
    raise DataError(f"{folder} is neither a run nor a study of nearkin. List what there is with 'nearkin runs FOLDER'.")


def check_run(folder: Path, *, deep: bool = True) -> Checked:
    """Check one run. Not ``deep``: the JSON files and what is missing only, without reading weights and vectors."""
    out = Checked(folder)
    again = f"delete {folder} and run the same command again: the run is made anew"
    config = out.read("config.json", read_object, again)
    settings = as_object(as_object(config).get("settings"))
    info = _info(out, as_object(config))
    done = out.read("done.json", read_object, f"delete {folder / 'done.json'} and run again", optional=True)
    single = config is not None and "data" in config  # of 'nearkin fit' or an estimator: trained, never evaluated
    weights = "weights.safetensors"
    if single:
        out.complete = (folder / weights).exists() or (info is not None and not info.weights)
    else:
        out.complete = done is not None or (folder / "done.json").exists()
    if out.complete and not single:
        _evaluation(out, as_object(done), deep)
    _leftovers(out)
    if not out.complete:
        part = "trained, not evaluated yet" if (folder / weights).exists() else "in the middle of training"
        out.add("note", "", f"interrupted, {part}", "run the same command again: it continues where it was")
    needs = out.complete and info is not None
    if info is not None and info.trained:
        _metrics(out, settings, needed=needs)
    if deep:
        if needs and info is not None and info.weights or (folder / weights).exists():
            out.read(weights, check_safetensors, again)
        for name in info.own_files(settings) if info is not None and needs else ():
            out.read(name, check_safetensors if name.endswith("safetensors") else read_object, again)
        out.read("checkpoint.safetensors", check_safetensors, "delete it: training starts again", optional=True)
    out.findings.sort(key=lambda finding: finding.level != "broken")
    return out


def _info(out: Checked, config: dict[str, Any]) -> MethodInfo | None:
    name = config.get("method")
    try:
        return method_info(name) if isinstance(name, str) else None
    except ConfigError:
        out.add("warning", "config.json", f"unknown method '{name}': which files belong to it cannot be told")
        return None


def _evaluation(out: Checked, done: dict[str, Any], deep: bool) -> None:
    """evaluation.json against done.json, the maps, and one Parquet per evaluated layer."""
    folder = out.folder
    again = f"delete {folder / 'evaluation.json'} and {folder / 'done.json'}, then run again: weights are kept, the rest is made anew"
    evaluation = out.read("evaluation.json", read_object, again)
    if evaluation is None:
        return
    if done and done.get("digest") != json_digest(evaluation):
        out.add("broken", "evaluation.json", "is not what the run wrote: its digest differs from done.json's", again)
    layers = as_object(evaluation.get("layers"))
    if evaluation.get("primary_layer") not in layers:
        out.add("broken", "evaluation.json", "has no evaluation of its primary layer", again)
    if not deep:
        return
    out.read("maps.npz", check_npz, again)
    wanted = _split_sizes(folder)
    for layer, found in layers.items():
        name = f"embeddings/{layer}.parquet"
        if Path(layer).name != layer:  # a name with separators would lead out of the folder
            out.add("broken", "evaluation.json", f"names an impossible layer '{layer}'", again)
            continue
        vectors = out.read(name, check_embeddings, again)
        if vectors is not None:
            _vectors(out, name, vectors, wanted, as_object(found).get("dim"), again)


def _vectors(out: Checked, name: str, vectors: Vectors, wanted: dict[str, int] | None, dim: object, again: str) -> None:
    if wanted is not None and vectors.splits != wanted:
        out.add("broken", name, f"holds rows {_counts(vectors.splits)}; data.json says {_counts(wanted)}", again)
    if dim != vectors.dim:
        out.add("broken", name, f"holds {vectors.dim} dimensions; evaluation.json says {clean(dim)}", again)
    if vectors.repeated:
        out.add("broken", name, f"holds {vectors.repeated} rows whose id occurs before", again)


def _counts(splits: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(splits.items())) or "none"


def _split_sizes(run: Path) -> dict[str, int] | None:
    """Rows by split as the study's data.json has them; None outside a study."""
    try:
        sizes = as_object(read_object(run.resolve().parent.parent / "data.json").get("study_splits"))
    except Damage:
        return None
    found = {name: count for name, size in sizes.items() if (count := whole(size))}
    return found or None


def _metrics(out: Checked, settings: dict[str, Any], *, needed: bool) -> None:
    name = "metrics.jsonl"
    fix = f"delete {out.folder} and run again to train anew; without that, only the curves are lost"
    found = out.read(name, read_metrics, fix, optional=not needed)
    if found is None:
        return
    for problem in found.problems:
        out.add("broken", name, problem, fix)
    if found.unfinished and out.complete:
        out.add("broken", name, "its last line is cut off", fix)
    elif found.unfinished:
        out.add("note", name, "its last line is cut off by the interruption", "nothing: continuing rewrites it")
    epochs = number(settings.get("epochs"))
    if out.complete and epochs is not None and not found.problems and found.epochs < epochs:
        out.add("broken", name, f"ends at epoch {found.epochs} of {epochs:g}", fix)


def _leftovers(out: Checked) -> None:
    """Temporary files of interrupted writes. Harmless: nothing reads them."""
    try:
        found = sorted(out.folder.rglob("*.tmp")) if is_run(out.folder) else sorted(out.folder.glob("*.tmp"))
    except OSError as error:
        out.add("warning", "", f"cannot be listed: {error.strerror}")
        return
    found += [path for path in (out.folder / ".writable",) if path.exists()]
    for path in found:
        name = str(path.relative_to(out.folder))
        out.add("warning", name, "is left over from an interrupted write", "delete it, if no nearkin is running here")
    if out.complete and (out.folder / "checkpoint.safetensors").exists():
        out.add("warning", "checkpoint.safetensors", "is left over: the run is finished", "delete it to free space")


def check_study(folder: Path) -> Checked:
    """Check a study's own files and which of its runs are missing; not the runs themselves."""
    out = Checked(folder)
    again = "run the same study command again: it is made anew, finished runs are kept"
    study = out.read("study.json", read_object, "take the command from results.json or your notes and use another -o")
    data = out.read("data.json", read_object, f"delete {folder / 'data.json'} and {again}")
    planned = _planned(out, as_object(as_object(study).get("config")))
    done = {path.parent.name for path in folder.glob("runs/*/done.json")}
    out.planned = len(planned)
    missing = [name for name in planned if name not in done]
    out.complete = not missing and (folder / "results.json").exists()
    if not missing and not out.complete:
        out.add("note", "", "interrupted, all runs are done but not collected", again)
    if missing:
        text = f"{len(planned) - len(missing)} of {len(planned)} runs done; missing: {', '.join(missing)}"
        out.add("note", "runs", text, "run the same study command again: it continues where it was")
    # A report is made of results.json: where there is one, the file has been there.
    results = out.read("results.json", read_object, again, optional=not (folder / "report.html").exists())
    if results is not None:
        runs = results.get("runs")
        told = {str(as_object(run).get("id")) for run in runs} if isinstance(runs, list) else set()
        if told != done:
            text = f"tells of {len(told)} runs; {len(done)} are finished"
            out.add("warning", "results.json", text, "run the same study command again: it collects what is there")
    for name, check in (("uses.json", read_object), ("thumbnails.npz", check_npz)):
        out.read(name, check, f"delete it, then {again}", optional=not out.complete)
    if data is not None and not as_object(data.get("study_splits")):
        out.add("broken", "data.json", "has no sizes of the splits", f"delete it, then {again}")
    if out.complete and not (folder / "report.html").exists():
        out.add("warning", "report.html", "is missing", f"make it with: nearkin report {folder}")
    _leftovers(out)
    out.findings.sort(key=lambda finding: finding.level != "broken")
    return out


def _planned(out: Checked, config: dict[str, Any]) -> list[str]:
    """Names of the runs that the study's configuration asks for."""
    methods, seeds = config.get("methods"), config.get("seeds")
    try:
        if not (isinstance(methods, list) and isinstance(seeds, list) and methods and seeds):
            raise ValueError("no methods or seeds")
        if not all(whole(seed) is not None for seed in seeds) or not all(isinstance(name, str) for name in methods):
            raise ValueError("methods or seeds of the wrong type")
        return [f"{name}-s{seed}" for name, seed in planned_runs(tuple(methods), tuple(seeds))]
    except (ConfigError, ValueError) as error:
        if not any(finding.path.name == "study.json" for finding in out.findings):
            fix = "use another -o for a new study; its runs can still be read one by one"
            out.add("broken", "study.json", f"does not say which runs belong to it: {error}", fix)
        return []
