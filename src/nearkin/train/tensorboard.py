"""TensorBoard's event files of a run: a copy of metrics.jsonl, beside it, made anew at every start.

One file per run and start, so that a killed and continued run shows the steps that it kept and no others.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nearkin.errors import ConfigError, OutputError
from nearkin.folders import METRICS

_SUFFIX = ".nearkin"  # ours among event files: only these are replaced
_AXES = ("kind", "step", "epoch", "split", "seconds")
_FLUSH_SECONDS = 5


def need_tensorboard() -> None:
    """Raises ConfigError when the package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("TensorBoard's event files need the package: pip install 'nearkin[tensorboard]'.")


class _Writer:
    """Reads metrics.jsonl on from where it was and writes its numbers as scalars, all on the axis of optimiser steps."""

    def __init__(self, run_dir: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for old in run_dir.glob(f"events.out.tfevents.*{_SUFFIX}"):
            old.unlink()
        self.metrics = run_dir / METRICS
        self.out = SummaryWriter(str(run_dir), filename_suffix=_SUFFIX, flush_secs=_FLUSH_SECONDS)
        self.position, self.step, self.seconds, self.started = 0, 0, 0.0, time.time()
        self.steps: dict[Any, int] = {}  # of each epoch's end

    def follow(self) -> None:
        if not self.metrics.exists():
            return
        with open(self.metrics, "rb") as file:
            file.seek(self.position)
            for raw in file:
                self._write(json.loads(raw))
            self.position = file.tell()

    def _write(self, line: dict[str, Any]) -> None:
        kind = line["kind"]
        if kind not in ("step", "epoch", "test"):
            return
        self.step = line.get("step", self.step)
        self.seconds = line.get("seconds", self.seconds)
        if kind == "epoch":
            self.steps[line["epoch"]] = self.step
        step = self.steps.get(line["epoch"], self.step) if kind == "test" else self.step
        for name, value in line.items():
            if name not in _AXES and isinstance(value, int | float):
                tag = f"{line.get('split', kind)}/{name}"
                # Training time, so that the axis "relative" is right for what was written again.
                self.out.add_scalar(tag, value, step, walltime=self.started + self.seconds)


@contextmanager
def event_files(run_dir: Path, *, enabled: bool = True) -> Iterator[Callable[[], None]]:
    """Yield ``follow()``, which writes what metrics.jsonl has got since; at the end it is called once more.

    Tags are KIND/NAME: step/loss, step/lr, train/loss, val/knn, test/loss. Does nothing when not ``enabled``.

    Raises:
        OutputError: the disk refuses.
    """
    if not enabled:
        yield lambda: None
        return
    writer = _guarded(run_dir, lambda: _Writer(run_dir))
    try:
        yield lambda: _guarded(run_dir, writer.follow)
    finally:
        _guarded(run_dir, writer.follow)
        _guarded(run_dir, writer.out.close)


def write_events(folder: Path) -> None:
    """Event files of a run that is there already, and of the runs inside it. Raises OutputError: the disk refuses."""
    for path in sorted(folder.rglob(METRICS)):
        with event_files(path.parent):
            pass


def _guarded(run_dir: Path, act: Callable[[], Any]) -> Any:
    try:
        return act()
    except OSError as error:
        raise OutputError(
            f"cannot write event files to {run_dir}: {error.strerror or error}. Free some space, or leave TensorBoard out."
        ) from error
