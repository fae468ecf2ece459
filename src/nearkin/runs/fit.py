"""Fit a method in a run's folder: what 'nearkin fit' and every run of a study do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from nearkin import data as nd
from nearkin.data import ReadOptions, Splits
from nearkin.data.decode import AS_FOUND
from nearkin.data.folder import Watch
from nearkin.data.imageset import fingerprint
from nearkin.errors import ConfigError, unknown
from nearkin.fileio import exclusive, read_object, write_json
from nearkin.methods import METHODS, FitContext, Method, create, known_settings, method_info
from nearkin.runs.run import Run, RunConfig, Study
from nearkin.train import ranks
from nearkin.train.device import pick_device
from nearkin.train.record import need_tensorboard, write_events

Say = Callable[[str], None]


def method_settings(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings among ``settings`` that the method knows: a study's are for all of its methods.

    Raises:
        ConfigError: a name that no method knows.
    """
    every = set().union(*(known_settings(other) for other in METHODS))
    for given in settings:
        if given not in every:
            raise unknown("setting", given, sorted(every))
    return {key: value for key, value in settings.items() if key in known_settings(name)}


def load_splits(
    data: str,
    labels: Path | None,
    size: int | None,
    strict: bool,
    subset: int | None,
    progress: bool,
    say: Say,
    watch: Watch = lambda path, image: None,
    read: ReadOptions = AS_FOUND,
) -> tuple[Splits, ReadOptions]:
    """Train, validation and test images of a set that can be trained on, and ``read`` with the range that was used for it.

    ``say`` is told what is remarkable about the set.
    """
    dataset = nd.load(data, labels=labels, size=size, strict=strict, progress=progress, watch=watch, read=read)
    for message in nd.remarks(dataset):
        say(f"note: {message}")
    if subset is not None and subset < len(dataset.train):
        say(f"note: a fixed subset of {subset:,} of {len(dataset.train):,} images is used")
    nd.check_trainable(dataset.train.images, dataset.source)
    return nd.split(dataset, subset=subset), read.used_for(dataset.value_range)


def fit_in_folder(method: Method, config: RunConfig, context: FitContext, say: Say = lambda text: None) -> None:
    """Fit ``method`` in ``context.folder`` and write there what it is; continue what was begun, load what is finished.

    ``say`` is told which of the two it is. Under torchrun every rank calls this, and rank 0 writes.

    Raises:
        ConfigError: the folder holds a run with another configuration.
    """
    run = Run(context.folder)
    # Nothing has been trained, as after a mistyped method, so nothing is lost.
    if run.begun and run.config_file.exists():
        changed = config.changed_since(read_object(run.config_file))
        if changed:
            raise ConfigError(
                f"{run.folder} holds a run with another configuration ({', '.join(changed)}). Choose another -o."
            )
    if run.trained:
        say(f"the run in {run.folder} is finished already")
    elif run.begun:
        say(f"continuing the run in {run.folder}")
    if not ranks.rank():
        write_json(run.config_file, config.to_json())
    method.fit(context)


def fit_run(
    data: str,
    out: Path,
    method: str,
    settings: dict[str, Any],
    *,
    seed: int,
    subset: int | None,
    labels: Path | None,
    size: int | None,
    strict: bool,
    read: ReadOptions = AS_FOUND,
    device: str,
    progress: bool,
    say: Say = print,
    tensorboard: bool = False,
) -> Path:
    """Train one method into the folder ``out``; continue what is there if its config and images are the same.

    ``tensorboard``: write event files beside metrics.jsonl, also for a run that is finished.

    Under torchrun every rank calls this, and rank 0 writes and says.

    Raises:
        ConfigError: ``out`` holds another run. OutputError: another process is writing there, or it cannot be written.
    """
    if tensorboard:
        need_tensorboard()
    with ranks.group(pick_device(device)), exclusive(out) if ranks.rank() == 0 else nullcontext():
        with ranks.lead_first():  # images that it decodes and caches
            told: Say = (lambda text: None) if ranks.rank() else say
            bars = progress and ranks.rank() == 0
            splits, read = load_splits(data, labels, size, strict, subset, bars, told, read=read)
        model = create(method, method_settings(method, settings), splits.train.images.shape[1:])
        if Study(out).study_file.exists():
            raise ConfigError(f"{out} is the folder of a study; a run needs one of its own. Choose another -o.")
        trained_on = fingerprint(dataclasses.replace(splits.train, labels=None))
        with_labels = fingerprint(splits.train) if method_info(method).uses_labels else None
        side, given = splits.train.images.shape[-1], read.given() or None
        config = RunConfig(method, seed, model.settings, side, data, trained_on, with_labels, given)
        context = FitContext(splits, out, seed, device, progress, title=method, tensorboard=tensorboard)
        fit_in_folder(model, config, context, told)
        if tensorboard and not ranks.rank():
            write_events(out)
        return out
