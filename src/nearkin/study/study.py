"""The study as data: which runs, what each leaves on disk, in which order. Resumable at every step."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nearkin import data as nd
from nearkin.data import Dataset, Splits
from nearkin.data.decode import SIZES
from nearkin.errors import ConfigError, DataError, one_line
from nearkin.evaluate.evaluation import Evaluation, LayerEvaluation
from nearkin.fileio import as_object, exclusive, json_digest, read_object, to_json, write_json, write_npz
from nearkin.folders import run_name
from nearkin.methods import (
    FitContext,
    Method,
    allowed_by_labels,
    create,
    method_info,
    needed_runs,
    planned_runs,
    with_needs,
    without_repeats,
)
from nearkin.runs.embed import embed_splits, encoder_note
from nearkin.runs.fit import Say, fit_in_folder, method_settings
from nearkin.runs.run import Run, RunConfig, Study
from nearkin.search.exact import KnnSearch, knn
from nearkin.study.protocol import evaluate
from nearkin.study.results import collect
from nearkin.study.thumbnails import write_thumbnails
from nearkin.study.uses import load_ood, run_uses
from nearkin.system import return_memory
from nearkin.train.device import pick_device
from nearkin.train.loop import check_batch
from nearkin.train.ranks import launched
from nearkin.train.record import need_tensorboard, write_events


@dataclass(frozen=True)
class StudyConfig:
    """The settings of a study, saved as study.json. A folder holds one study; another config is refused there."""

    data: str
    preset: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    subset: int | None = None
    size: int | None = None
    labels: str | None = None
    strict: bool = False
    read: dict[str, Any] = field(default_factory=dict)
    ood: tuple[str, ...] = ()
    device: str = "auto"
    command: str = ""

    def __post_init__(self) -> None:
        for name in self.methods:
            method_info(name)
        if not self.methods or not self.seeds:
            raise ConfigError("a study needs at least one method and one seed.")

    def to_json(self) -> dict[str, Any]:
        """All of it; how the set is read only where it is not the usual way."""
        return {name: value for name, value in to_json(self).items() if name != "read" or value}

    def identity(self) -> dict[str, Any]:
        """The part that decides results: not the methods, seeds and foreign images asked for (more may join), nor the command."""
        skip = ("methods", "seeds", "command", "device", "ood")
        return {name: value for name, value in self.to_json().items() if name not in skip}


def run_study(
    config: StudyConfig,
    out: Path,
    *,
    fresh: bool = False,
    progress: bool = True,
    say: Say = print,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Run what is missing of the study in ``out`` and write results.json (not the report).

    ``tensorboard``: write event files beside every run's metrics.jsonl, also for runs that are finished.

    Raises:
        ConfigError: ``out`` holds another study. OutputError: another process is writing there, or it cannot be written.
        DataError, TrainingError: see their texts.
    """
    if launched() > 1:
        raise ConfigError("a study is one process; several ranks are for 'nearkin fit'. Run it without torchrun.")
    if tensorboard:
        need_tensorboard()
    with exclusive(out):
        return _run_study(config, Study(out), fresh, progress, say, tensorboard)


def _run_study(
    config: StudyConfig, study: Study, fresh: bool, progress: bool, say: Say, tensorboard: bool
) -> dict[str, Any]:
    config = replace(config, methods=without_repeats(config.methods, config.settings))
    out = study.folder
    if Run(out).config_file.exists() and not study.study_file.exists():
        raise ConfigError(f"{out} is the folder of a run of 'nearkin fit', not of a study. Choose another -o.")
    # Nothing has been trained, as after a mistyped setting, so nothing is lost.
    fresh = fresh or not any(run.done or run.begun for run in study.runs())
    if not fresh and study.study_file.exists():
        _same(read_object(study.study_file, identity=dict)["identity"], config.identity(), out)
    device = pick_device(config.device)
    dataset = nd.load(
        config.data,
        labels=Path(config.labels) if config.labels else None,
        size=config.size,
        strict=config.strict,
        progress=progress,
        read=nd.ReadOptions.of(config.read),
    )
    nd.check_trainable(dataset.train.images, dataset.source)
    splits = nd.split(dataset, subset=config.subset)
    asked = config.methods
    config = replace(config, methods=allowed_by_labels(asked, splits.train.labels))
    # Report an illegal setting or a missing package now, not after hours of other methods.
    for name in with_needs(config.methods):
        method = create(name, method_settings(name, config.settings), splits.train.images.shape[1:])
        if method_info(name).trained:
            check_batch(method.settings["batch_size"], len(splits.train))
        elif fresh or not study.run(run_name(name, config.seeds[0])).trained:
            _ = method.best_side  # fetches the weights of an encoder that others trained
    foreign = _describe_foreign(config.ood, dataset, progress)
    if fresh:
        _clear(study)
    _start(config, dataset, splits, foreign, study, say)
    for message in nd.remarks(dataset):
        say(f"note: {one_line(message)}")
    if unfit := [name for name in asked if name not in config.methods]:
        say(f"note: left out, as training needs a label for every training image: {', '.join(unfit)}")
    read = nd.ReadOptions.of(config.read).used_for(dataset.value_range)
    del dataset  # its images were copied into the splits
    pairs = planned_runs(config.methods, config.seeds)
    for number, (name, seed) in enumerate(pairs, start=1):
        run = study.run(run_name(name, seed))
        if not run.done:
            say(f"[{number}/{len(pairs)}] {method_info(name).title}, seed {seed}")
            context = FitContext(
                splits,
                run.folder,
                seed,
                device,
                progress,
                title=f"{name} s{seed}",
                tensorboard=tensorboard,
                runs=needed_runs(name, seed, study.runs_folder),
            )
            _run(name, config, context, read, say)
        if tensorboard:
            write_events(run.folder)
    say("uses: search, hubs, factors, clusters, near-duplicates, anomalies")
    sets = load_ood(config.ood, splits, progress)
    runs = study.finished()
    uses = run_uses(study, runs, splits, sets, device, say)
    write_thumbnails(study, runs, splits, uses, sets)
    results = collect(study, config.command, runs, uses)
    write_json(study.results_file, results)
    return results


def _describe_foreign(sources: tuple[str, ...], dataset: Dataset, progress: bool) -> list[dict[str, Any]]:
    """Describe each foreign set. Only one set's images are in memory at a time."""
    out = []
    for source in sources:
        other = nd.load(source, size=dataset.train.images.shape[-1], progress=progress)
        if other.fingerprint == dataset.fingerprint:
            raise ConfigError(f"--ood {source} holds the study's own images. Give images that do not belong to them.")
        out.append(nd.describe(other))
    return out


def _clear(study: Study) -> None:
    """Throw away a study, once nothing can be refused any more. A folder "runs" without a study's files is not its own."""
    if not study.study_file.exists():
        return
    for path in (
        study.runs_folder,
        study.uses_folder,
        study.uses_file,
        study.data_file,
        study.results_file,
        study.markdown_file,
        study.thumbnails_file,
        study.report_file,
        study.study_file,  # deleted last: it says which images the other files belong to
    ):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _same(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    # One by one: two whole dictionaries would hide the one value that differs.
    before, now = ({**side, **as_object(side.get("settings"))} for side in (before, now))
    changed = [k for k in {**now, **before} if k != "settings" and before.get(k) != now.get(k)]
    if changed:
        what = "; ".join(f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in changed)[:300]
        raise ConfigError(f"{out} holds another study ({what}). Choose another -o, or --fresh to start over.")


def _start(
    config: StudyConfig, dataset: Dataset, splits: Splits, foreign: list[dict[str, Any]], study: Study, say: Say
) -> None:
    """Write study.json and data.json, or check them against the images and say how far the study is."""
    begun_before = study.study_file.exists()
    if begun_before:
        if read_object(study.study_file, fingerprint=str)["fingerprint"] != dataset.fingerprint:
            raise ConfigError(
                f"the images of {dataset.source} have changed since the study in {study.folder} began. "
                "Choose another -o, or --fresh."
            )
        classes = read_object(study.data_file).get("classes") if study.data_file.exists() else None
        if classes is not None and classes != list(dataset.train.classes):
            raise ConfigError(
                f"the names of the classes of {dataset.source} have changed since the study in {study.folder} began. "
                "Choose another -o, or --fresh."
            )
        runs = study.runs()
        begun = [run.name for run in runs if run.checkpoint_file.exists()]
        say(
            f"continuing the study in {study.folder}: {sum(run.done for run in runs)} runs done"
            + (f", in the middle of {', '.join(begun)}" if begun else "")
        )
    # A data.json without a study.json is what a kill left of a study that may have been of other images.
    described = begun_before and study.data_file.exists()
    description = read_object(study.data_file) if described else nd.describe(dataset)
    description["study_splits"] = {"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)}
    description["subset"] = config.subset if config.subset and config.subset < len(dataset.train) else None
    description["ood"] = foreign
    read = nd.ReadOptions.of(config.read).used_for(dataset.value_range).given()
    description |= {"read": read} if read else {}
    write_json(study.data_file, description)
    write_json(
        study.study_file,
        {"identity": config.identity(), "config": config.to_json(), "fingerprint": dataset.fingerprint},
    )


def _at_own_side(method: Method, study: StudyConfig, context: FitContext, say: Say) -> Splits:
    """The study's images; for an encoder that wants larger ones than the study made of files, those files once more."""
    splits, run = context.splits, Run(context.folder)
    have = splits.train.images.shape[-1]
    wanted = run.image_size() if run.trained else method.best_side
    made_smaller = (study.size is not None or have == SIZES[-1]) and Path(study.data).expanduser().exists()
    if wanted is None or wanted <= have or not made_smaller:
        return splits
    say(f"  reading the images once more, at {wanted} x {wanted}")
    dataset = nd.load(
        study.data,
        labels=Path(study.labels) if study.labels else None,
        size=wanted,
        strict=study.strict,
        progress=context.progress,
        read=nd.ReadOptions.of(study.read),
    )
    larger = nd.split(dataset, subset=study.subset)
    for name in ("train", "val", "test"):
        if not np.array_equal(getattr(larger, name).ids, getattr(splits, name).ids):
            raise DataError(f"the images of {study.data} have changed while the study ran. Run it again.")
    return larger


def _run(name: str, study: StudyConfig, context: FitContext, read: nd.ReadOptions, say: Say) -> None:
    """Train (or continue), embed, evaluate one method with one seed."""
    run, seed = Run(context.folder), context.seed
    method = create(name, method_settings(name, study.settings), context.splits.train.images.shape[1:])
    splits = _at_own_side(method, study, context, say)
    context = replace(context, splits=splits)
    config = RunConfig(name, seed, to_json(method.settings), splits.train.images.shape[-1], read=read.given() or None)
    fit_in_folder(method, config, context)
    if method_info(name).trained:
        return_memory()
        say("  test losses, embeddings")
    method.test_losses(context)
    if note := encoder_note(method.provenance):
        say(f"  note: {note}")
    embedded = embed_splits(lambda items: method.embed(items.images), splits, config.to_json() | method.provenance)
    for layer, embeddings in embedded.items():
        embeddings.save(run.embeddings_file(layer))
    layers: dict[str, LayerEvaluation] = {}
    maps: dict[str, Any] = {}
    for layer in method.layers:
        say(f"  evaluating layer {layer}")
        primary = layer == method.primary_layer
        # The uses ask for neighbours in that layer again.
        search: KnnSearch = run.search if primary else knn
        layers[layer], drawn = evaluate(
            embedded[layer], seed=seed, maps=primary, on_step=lambda step: return_memory(), find=search
        )
        if drawn:
            maps |= {f"{layer}/{kind}": item.coords for kind, item in drawn.maps.items()}
            maps |= {f"{layer}/ids": drawn.ids, f"{layer}/labels": drawn.labels}
    write_npz(run.maps_file, maps)
    evaluation = to_json(Evaluation(name, method_info(name).title, seed, method.primary_layer, layers))
    write_json(run.evaluation_file, evaluation)
    write_json(run.done_file, {"digest": json_digest(evaluation)})
    return_memory()
