"""Readers that trust nothing: each checks one file of a run and returns what it holds, or raises DamagedFile.

JSON objects are read by :func:`nearkin.fileio.read_object`, in the same way. No torch is imported.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nearkin.errors import DamagedFile, one_line
from nearkin.fileio import as_object, guarded

_MOST = 600  # characters of a line
# Messages of safetensors for a file whose length differs from what its header promises.
_WRONG_LENGTH = ("not fully covered", "header too", "header length")
# Curves that are shown, by the name of their field in an epoch's line.
_CURVES = {"loss": "loss", "knn": "kNN accuracy"}
Curve = list[tuple[float, float]]


def clean(text: object) -> str:
    """One printable line of at most 600 characters."""
    line = one_line(text)
    return line if len(line) <= _MOST else line[: _MOST - 3] + "..."


def number(value: Any) -> float | None:
    """``value`` as a float if it is a finite JSON number (no bool), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def whole(value: Any) -> int | None:
    """``value`` if it is an integer (no bool), else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def check_safetensors(path: Path) -> int:
    """Check the header, and that the tensors fill the file exactly; return their number. Reads no tensor."""
    from safetensors import SafetensorError, safe_open

    def read(file: Path) -> int:
        try:
            with safe_open(file, framework="np") as handle:
                return len(handle.keys())
        except SafetensorError as error:
            if any(words in str(error) for words in _WRONG_LENGTH):
                raise DamagedFile(path, f"is cut off or has bytes too many ({error})") from error
            raise

    return guarded(path, "safetensors", read)


def check_npz(path: Path) -> list[str]:
    """Check the checksums of every array in an .npz; return their names."""

    def read(file: Path) -> list[str]:
        with zipfile.ZipFile(file) as archive:
            bad = archive.testzip()
            if bad is not None:
                raise DamagedFile(path, f"holds a damaged array '{bad}'")
            return [name.removesuffix(".npy") for name in archive.namelist()]

    return guarded(path, ".npz", read)


@dataclass(frozen=True)
class VectorCounts:
    """Counts of a Parquet file of embeddings.

    Attributes:
        rows, dim: of the vectors. splits: rows by split. repeated: rows whose id occurs before.
    """

    rows: int
    dim: int
    splits: dict[str, int]
    repeated: int


def check_embeddings(path: Path) -> VectorCounts:
    """Read a Parquet of embeddings batch by batch; they must be there, equally long and finite."""
    return guarded(path, "Parquet", _embeddings)


def _embeddings(path: Path) -> VectorCounts:
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = file.schema_arrow.names
        missing = [name for name in ("id", "split", "embedding") if name not in columns]
        if missing:
            raise DamagedFile(path, f"has no column {', '.join(missing)}")
        rows = 0
        dims: set[int | None] = set()
        for batch in file.iter_batches(batch_size=4096, columns=["embedding"]):
            vectors = batch.column(0)
            dims |= set(pc.list_value_length(vectors).to_pylist())
            values = vectors.flatten().to_numpy(zero_copy_only=False)
            if not np.isfinite(values).all():
                raise DamagedFile(path, "holds vectors with NaN or infinity")
            rows += len(vectors)
        if len(dims) != 1 or None in dims:
            raise DamagedFile(path, "holds no vectors, or vectors of unequal length")
        names = file.read(columns=["id", "split"])
    splits = Counter(str(name) for name in names.column("split").to_pylist())
    ids = names.column("id").to_pylist()
    return VectorCounts(rows, next(iter(dims)) or 0, dict(splits), len(ids) - len(set(ids)))


@dataclass
class RecordCounts:
    """Counts and problems of a metrics.jsonl.

    Attributes:
        lines: parsed lines. steps, epochs: the last step and epoch logged. problems: one line each, the first of a kind.
        unfinished: the last line has no end, as after a kill.
    """

    lines: int = 0
    steps: int = 0
    epochs: int = 0
    problems: list[str] = field(default_factory=list)
    unfinished: bool = False


def check_metrics(path: Path) -> RecordCounts:
    """Parse metrics.jsonl: every line must be an object with a "kind", and steps and epochs must rise."""
    return guarded(path, "JSON lines", _metrics)


def _metrics(path: Path) -> RecordCounts:
    out = RecordCounts()
    epochs: dict[str, int] = {}
    bad: list[str] = []
    with open(path, "rb") as file:
        for count, raw in enumerate(file, start=1):
            out.unfinished = not raw.endswith(b"\n")
            line = _line(raw)
            if not isinstance(line.get("kind"), str):
                bad.append(f"line {count} is no JSON object with a 'kind'")
                continue
            out.lines += 1
            kind = line["kind"]
            if kind == "step":
                step = whole(line.get("step"))
                if step is None or step <= out.steps:
                    bad.append(f"line {count}: step {clean(line.get('step'))} follows step {out.steps}")
                out.steps = out.steps if step is None else step
            elif kind == "epoch":
                split, epoch = str(line.get("split")), number(line.get("epoch"))
                if epoch is None or epoch <= epochs.get(split, 0):
                    bad.append(f"line {count}: epoch {clean(line.get('epoch'))} follows epoch {epochs.get(split, 0)}")
                if epoch is not None:
                    epochs[split] = int(epoch)
                    out.epochs = max(out.epochs, int(epoch))
    if bad and out.unfinished and bad[-1].startswith(f"line {count} is no"):
        bad.pop()  # a kill cut it off; told as ``unfinished``
    elif not bad:
        out.unfinished = out.unfinished and out.lines > 0
    if bad:
        out.problems = [clean(bad[0]) + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else "")]
    return out


def read_curves(path: Path) -> dict[str, dict[str, Curve]]:
    """Title -> split -> (epoch, value) of the loss and of the monitoring kNN; nothing where there are no curves.

    Lines that are damaged or hold no finite numbers are left out; :func:`check_metrics` tells of them.
    """
    try:
        return guarded(path, "JSON lines", _curves)
    except DamagedFile:
        return {}


def _curves(path: Path) -> dict[str, dict[str, Curve]]:
    out: dict[str, dict[str, Curve]] = {}
    with open(path, "rb") as file:
        for raw in file:
            line = _line(raw)
            epoch, split = number(line.get("epoch")), line.get("split")
            if line.get("kind") != "epoch" or epoch is None or split not in ("train", "val"):
                continue
            for name, title in _CURVES.items():
                value = number(line.get(name))
                if value is not None:
                    out.setdefault(title, {}).setdefault(split, []).append((epoch, value))
    return out


def _line(raw: bytes) -> dict[str, Any]:
    """A line of JSON, if it is an object; else an empty one."""
    try:
        return as_object(json.loads(raw))
    except (ValueError, RecursionError):
        return {}
