"""Readers that check one file each: they return what was asked for or raise Damage, whatever the file holds."""

from __future__ import annotations

import json
import math
import stat
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nearkin.runs.findings import clean, number, whole

T = TypeVar("T")
_LARGEST_JSON = 1 << 28  # 256 MiB; results.json of a large study has some MiB
_LARGEST_HEADER = 100_000_000  # safetensors' own limit
# Bits per element of safetensors' types that torch can write.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


class Damage(Exception):
    """Why a file cannot be used, one line that follows the file's name. ``missing``: it is not there at all."""

    def __init__(self, text: str, *, missing: bool = False) -> None:
        super().__init__(clean(text))
        self.missing = missing


def guarded(path: Path, kind: str, read: Callable[[Path], T]) -> T:
    """``read(path)`` of a regular file; anything that goes wrong is a Damage."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise Damage("is not a regular file")
        return read(path)
    except Damage:
        raise
    except FileNotFoundError as error:
        raise Damage("is missing", missing=True) from error
    except Exception as error:  # hostile content makes parsers raise nearly anything; all of it means the same here
        raise Damage(f"cannot be read as {kind} ({type(error).__name__}: {error})") from error


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises Damage."""

    def read(file: Path) -> dict[str, Any]:
        if file.stat().st_size > _LARGEST_JSON:
            raise Damage(f"is larger than {_LARGEST_JSON >> 20} MiB")
        value = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise Damage("holds no JSON object")
        return value

    return guarded(path, "JSON", read)


def check_safetensors(path: Path) -> int:
    """Check header, types, shapes and that the tensors fill the file exactly; return their number. Raises Damage.

    The format (https://github.com/huggingface/safetensors): the header's length as a little-endian 64-bit integer, the
    header as JSON, then the tensors without gaps. Read here without the library, so that neither torch is imported
    nor memory taken.
    """
    return guarded(path, "safetensors", _safetensors)


def _safetensors(path: Path) -> int:
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise Damage(f"is cut off: {size} bytes cannot hold its header")
        header = json.loads(file.read(length))
    spans = []
    for name, item in header.items():
        if name == "__metadata__":
            continue
        begin, end = (int(offset) for offset in item["data_offsets"])
        bits = _BITS.get(item["dtype"])
        shape = [int(n) for n in item["shape"]]
        if bits is None or min(shape, default=0) < 0 or begin < 0 or (end - begin) * 8 != bits * math.prod(shape):
            raise Damage(f"describes tensor '{name}' wrongly")
        spans.append((begin, end))
    spans.sort()
    position = 0
    for begin, end in spans:
        if begin != position:
            raise Damage("has gaps or overlaps between its tensors")
        position = end
    if 8 + length + position != size:
        raise Damage(f"is cut off or has bytes too many: {size} bytes, its header promises {8 + length + position}")
    return len(spans)


def check_npz(path: Path) -> list[str]:
    """Check the checksums of every array in an .npz; return their names. Raises Damage."""

    def read(file: Path) -> list[str]:
        with zipfile.ZipFile(file) as archive:
            bad = archive.testzip()
            if bad is not None:
                raise Damage(f"holds a damaged array '{bad}'")
            return [name.removesuffix(".npy") for name in archive.namelist()]

    return guarded(path, ".npz", read)


@dataclass(frozen=True)
class Vectors:
    """Attributes:
    rows, dim: of the vectors. splits: rows by split. repeated: ids that occur more than once.
    """

    rows: int
    dim: int
    splits: dict[str, int]
    repeated: int


def check_embeddings(path: Path) -> Vectors:
    """Read a Parquet of embeddings batch by batch. Raises Damage: unreadable, no vectors, unequal lengths, not finite."""
    return guarded(path, "Parquet", _embeddings)


def _embeddings(path: Path) -> Vectors:
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = file.schema_arrow.names
        missing = [name for name in ("id", "split", "embedding") if name not in columns]
        if missing:
            raise Damage(f"has no column {', '.join(missing)}")
        rows = 0
        dims: set[int | None] = set()
        for batch in file.iter_batches(batch_size=4096, columns=["embedding"]):
            vectors = batch.column(0)
            dims |= set(pc.list_value_length(vectors).to_pylist())
            values = vectors.flatten().to_numpy(zero_copy_only=False)
            if not np.isfinite(values).all():
                raise Damage("holds vectors with NaN or infinity")
            rows += len(vectors)
        if len(dims) != 1 or None in dims:
            raise Damage("holds no vectors, or vectors of unequal length")
        names = file.read(columns=["id", "split"])
    splits = Counter(str(name) for name in names.column("split").to_pylist())
    ids = names.column("id").to_pylist()
    return Vectors(rows, next(iter(dims)) or 0, dict(splits), len(ids) - len(set(ids)))


@dataclass
class Metrics:
    """Attributes:
    lines: parsed lines. steps, epochs: the last step and epoch logged. problems: one line each, the first of a kind.
    unfinished: the last line has no end, as after a kill.
    """

    lines: int = 0
    steps: int = 0
    epochs: int = 0
    problems: list[str] = field(default_factory=list)
    unfinished: bool = False


def read_metrics(path: Path) -> Metrics:
    """Parse metrics.jsonl: every line an object with a "kind", steps and epochs rising. Raises Damage: unreadable."""
    return guarded(path, "JSON lines", _metrics)


def _metrics(path: Path) -> Metrics:
    out = Metrics()
    epochs: dict[str, int] = {}
    bad: list[str] = []
    with open(path, "rb") as file:
        for count, raw in enumerate(file, start=1):
            out.unfinished = not raw.endswith(b"\n")
            try:
                line = json.loads(raw)
                if not isinstance(line, dict) or not isinstance(line.get("kind"), str):
                    raise ValueError
            except (ValueError, RecursionError):
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
