"""Encoded images in Parquet files, the layout of Hugging Face image data sets: as a set, or as shards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from nearkin.data.decode import MAX_RECORD, EncodedImage, choose_size, decode, to_square
from nearkin.data.imageset import UNLABELLED, Dataset, ImageSet, Skipped, fingerprint
from nearkin.data.layout import SPLITS, train_or_test
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


def parquet_records(file: Any, where: str) -> Iterator[EncodedImage]:
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


def _record(row: dict[str, Any], number: int, cell: Any, label: Any, names: tuple[str, ...]) -> EncodedImage:
    data, given = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if names and isinstance(label, int):
        label = names[label] if 0 <= label < len(names) else None  # -1 is Hugging Face's "unknown"
    problem = "" if data else "no bytes"
    if data and len(data) > MAX_RECORD:
        data, problem = b"", f"{len(data):,} bytes; at most {MAX_RECORD:,}"
    key = str(row.get("id") or row.get("path") or given or f"{number:06d}")
    return EncodedImage(
        key, data or b"", None if label is None else str(label), str(row.get("split") or "train"), problem
    )


def load_parquet(path: Path, size: int | None, strict: bool) -> Dataset:
    """A column of encoded images (struct with "bytes", or plain binary), optionally label and split columns."""
    file = open_parquet(path, str(path))
    decoded, labels, ids, splits = [], [], [], []
    skipped: list[Skipped] = []
    for record in parquet_records(file, str(path)):
        try:
            if record.problem:
                raise ValueError(record.problem)
            decoded.append(decode(record.data))
        except ValueError as error:
            skipped.append(Skipped(record.key, str(error)))
            continue
        labels.append(record.label)
        ids.append(record.key)
        splits.append(record.split)
    if skipped and strict:
        raise DataError(f"{path}: {skipped[0].path}: {skipped[0].reason} ({len(skipped)} unreadable; --strict).")
    if not decoded:
        raise DataError(f"{path}: none of its {len(skipped)} images is readable.")
    side = size or choose_size([image.size for image in decoded])
    images = np.stack([to_square(image, side) for image in decoded])
    if len(set(ids)) < len(ids):
        ids = [f"{i:06d}-{name}" for i, name in enumerate(ids)]
    found = {label for label in labels if label is not None}
    classes = class_names(file)
    # A name twice, or a label without a name: the schema's names cannot be trusted.
    if not found <= set(classes) or len(set(classes)) < len(classes):
        classes = tuple(sorted(found))
    order = {name: k for k, name in enumerate(classes)}
    numbers = np.array([UNLABELLED if v is None else order[v] for v in labels], dtype=np.int64)
    whole = ImageSet(images, np.array(ids), numbers if found else None, classes if found else ())
    serves = train_or_test({name.lower() for name in splits} & set(SPLITS))
    is_test = np.array([serves.get(name.lower()) == "test" for name in splits])
    test = whole.take(np.flatnonzero(is_test)) if is_test.any() and not is_test.all() else None
    train = whole.take(np.flatnonzero(~is_test)) if test is not None else whole
    return Dataset(path.stem, str(path), train, test, fingerprint(train, test), tuple(skipped))
