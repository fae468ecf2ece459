"""The record of a run: metrics.jsonl, one JSON object per line, rewound exactly on resume, and its copy for TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from nearkin.errors import ConfigError, DataError, OutputError, reading
from nearkin.folders import METRICS

_SUFFIX = ".nearkin"  # marks our event files: only these are replaced
_AXES = ("kind", "step", "epoch", "split", "seconds")
_FLUSH_SECONDS = 5


class MetricsLog:
    """Append-only metrics of one run.

    ``position`` (bytes) goes into each checkpoint; ``rewind`` cuts off what was logged after it, so that an
    interrupted and resumed run leaves the same lines as an uninterrupted one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, *lines: dict[str, Any]) -> None:
        """Write lines at the end and flush. They replace an unfinished last line, which a kill may leave.

        Raises OutputError when the disk refuses.
        """
        try:
            with open(self.path, "a+b") as file:
                end = file.seek(0, os.SEEK_END)
                if end and _last_byte(file) != b"\n":
                    file.truncate(_whole_lines(self.path))
                file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}. Free some space, then run again."
            ) from error

    @property
    def position(self) -> int:
        """Length of the file in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def rewind(self, position: int) -> None:
        """Cut the file back to ``position`` bytes. Raises DataError when it is shorter: lines of the past are lost."""
        if self.position < position:
            raise DataError(
                f"{self.path} is shorter than the checkpoint beside it says. Delete {self.path.parent} and run again."
            )
        if self.path.exists():
            os.truncate(self.path, position)

    def read(self, **match: Any) -> list[dict[str, Any]]:
        """All lines whose fields equal ``match``, e.g. ``read(kind="epoch", split="val")``.

        A last line without a line end, which a kill may leave, is ignored. Raises DataError for other damage.
        """
        if not self.path.exists():
            return []
        with reading(self.path, f"Delete {self.path.parent} and run again."):
            whole = self.path.read_bytes().split(b"\n")[:-1]
            lines = [line for line in map(json.loads, whole) if line.keys() >= match.keys()]
            return [line for line in lines if all(line[key] == value for key, value in match.items())]


def _last_byte(file: IO[bytes]) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _whole_lines(path: Path) -> int:
    """Number of bytes up to the last line end."""
    return path.read_bytes().rfind(b"\n") + 1


class UnwrittenLog(MetricsLog):
    """The record on ranks other than 0: it writes nothing, because rank 0 writes the file."""

    def append(self, *lines: dict[str, Any]) -> None:
        """Do nothing."""

    def rewind(self, position: int) -> None:
        """Do nothing."""


def need_tensorboard() -> None:
    """Raises ConfigError when the package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("TensorBoard's event files need the package: pip install 'nearkin[tensorboard]'.")


class _EventWriter:
    """Reads the new lines of metrics.jsonl and writes their numbers as scalars over optimiser steps."""

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
    """Write TensorBoard's event files of a run: a copy of metrics.jsonl, beside it, written anew at every start.

    Yield ``follow()``, which copies the new lines; it runs once more at the end. Each start has a file of its own, so that
    a killed and continued run shows only the steps that it kept.

    Tags are KIND/NAME: step/loss, step/lr, train/loss, val/knn, test/loss. Does nothing when not ``enabled``.

    Raises:
        OutputError: the disk refuses.
    """
    if not enabled:
        yield lambda: None
        return
    writer = _guarded(run_dir, lambda: _EventWriter(run_dir))
    try:
        yield lambda: _guarded(run_dir, writer.follow)
    finally:
        _guarded(run_dir, writer.follow)
        _guarded(run_dir, writer.out.close)


def write_events(folder: Path) -> None:
    """Write event files of an existing run and of the runs inside it. Raises OutputError when the disk refuses."""
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
