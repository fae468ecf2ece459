"""Encoded images of a Parquet file, a few rows at a time (the layout of Hugging Face image data sets)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from nearkin.data.records import MAX_RECORD, Record
from nearkin.errors import DataError, reading
from nearkin.fileio import check_parquet, regular

_ROWS = 64
_LABELS = ("label", "labels", "class")


def open_parquet(source: Path | IO[bytes], where: str) -> Any:
    """A ``pyarrow.parquet.ParquetFile``. Raises DataError when it is none, and for a decompression bomb."""
    import pyarrow.parquet as pq

    with reading(f"{where} is not a readable Parquet file: it"):
        size = regular(source).stat().st_size if isinstance(source, Path) else source.seek(0, os.SEEK_END)
        file = pq.ParquetFile(source)
        check_parquet(where, file.metadata, size)
        return file


def class_names(file: Any) -> tuple[str, ...]:
    """The names of a ClassLabel feature in Hugging Face's schema metadata, if any."""
    try:
        features = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])["info"]["features"]
        names = next(f["names"] for f in features.values() if isinstance(f, dict) and f.get("_type") == "ClassLabel")
        return tuple(str(name) for name in names)
    except (KeyError, ValueError, TypeError, AttributeError, StopIteration, RecursionError):
        return ()


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _holds_images(kind.field(at).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _image_column(schema: Any, where: str) -> str:
    for field in schema:
        if _holds_images(field.type):
            return str(field.name)
    raise DataError(
        f"{where}: no column of encoded images (binary, or struct with 'bytes'); found: {', '.join(schema.names)}."
    )


def parquet_records(file: Any, where: str) -> Iterator[Record]:
    """The rows of a ParquetFile: a column of encoded images (struct with "bytes", or binary), optionally id or path,
    label (a name, or the number of a ClassLabel) and split.

    Raises:
        DataError: no such column, or damaged pages.
    """
    schema = file.schema_arrow
    column = _image_column(schema, where)
    labels = next((name for name in _LABELS if name in schema.names), None)
    wanted = [column, *(name for name in (labels, "id", "path", "split") if name in schema.names)]
    names = class_names(file)
    batches, number = file.iter_batches(_ROWS, columns=wanted), 0
    while True:
        with reading(f"{where} is damaged after row {number}: it"):  # pages, and values that Python has no type for
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        if batch is None:
            return
        for row in rows:
            yield _record(row, number, row[column], row.get(labels) if labels else None, names)
            number += 1


def _record(row: dict[str, Any], number: int, cell: Any, label: Any, names: tuple[str, ...]) -> Record:
    data, given = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if names and isinstance(label, int):
        label = names[label] if 0 <= label < len(names) else None  # -1 is Hugging Face's "unknown"
    problem = "" if data else "no bytes"
    if data and len(data) > MAX_RECORD:
        data, problem = b"", f"{len(data):,} bytes; at most {MAX_RECORD:,}"
    key = str(row.get("id") or row.get("path") or given or f"{number:06d}")
    return Record(key, data or b"", None if label is None else str(label), str(row.get("split") or "train"), problem)
