"""Encoded images in Parquet files, the layout of Hugging Face image data sets: as a set, or as shards."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from nearkin.data.decode import (
    AS_FOUND,
    FORMATS,
    MAX_RECORD,
    EncodedImage,
    ReadOptions,
    choose_size,
    common_range,
    decode,
    gray_levels,
    range_note,
    to_square,
)
from nearkin.data.imageset import UNLABELLED, Dataset, ImageSet, LeftOutCounter, Skipped, fingerprint
from nearkin.data.layout import SPLITS, split_name, train_or_test
from nearkin.errors import DataError, reading
from nearkin.fileio import as_object, check_parquet, label_text, regular

_ROWS = 64
_PROBED = 8  # rows checked for images in a column without a feature
_LABELS = ("label", "labels", "class")
_IMAGES = ("image", "img", "images", "picture", "photo", "jpg", "jpeg", "png", "pixel_values")
NO_LABEL = "none"  # asked for in a label column's stead


def open_parquet(source: Path | IO[bytes], where: str) -> Any:
    """A ``pyarrow.parquet.ParquetFile``. Raises DataError when it is none, and for a decompression bomb."""
    import pyarrow.parquet as pq

    with reading(f"{where} is not a readable Parquet file: it"):
        size = regular(source).stat().st_size if isinstance(source, Path) else source.seek(0, os.SEEK_END)
        file = pq.ParquetFile(source)
        check_parquet(where, file.metadata, size)
        return file


@dataclass(frozen=True)
class ImageTable:
    """Which columns of a Parquet file are read.

    Attributes:
        image: the column of encoded images. label: that of labels, or None. classes: the label's names by number (a
            ClassLabel), empty where labels are names or plain numbers. notes: what was chosen, where there was a choice.
    """

    image: str
    label: str | None
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def choose_columns(
    file: Any, where: str, image_column: str | None = None, label_column: str | None = None
) -> ImageTable:
    """Choose the columns of image and label of a ParquetFile.

    The image is the column asked for; else the one whose feature is Image; else the one whose bytes decode; of several, the one
    with a usual name ("image", "img", ...). The label is the column asked for ("none" for none), else label, labels or class.

    Raises:
        DataError: no such column, several that could be meant, or labels that are lists.
    """
    schema, features = file.schema_arrow, _features(file)
    image, others = _image_column(file, features, where, image_column)
    notes = [f"images from column '{image}'; also there: {', '.join(others)} (--image-column)"] if others else []
    label = _label_column(schema, where, label_column)
    named = [name for name in schema.names if name != label and _class_names(features.get(name))]
    if label is not None and named:
        notes.append(f"labels from column '{label}'; also there: {', '.join(named)} (--label-column)")
    elif label_column is None and label is None and named:
        notes.append(f"no column 'label'; labels could be taken from {', '.join(named)} (--label-column)")
    return ImageTable(image, label, _class_names(features.get(label)) if label else (), tuple(notes))


def _features(file: Any) -> dict[str, Any]:
    """Hugging Face's description of the columns, by name; {} without one."""
    try:
        meta = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])
        return as_object(as_object(as_object(meta).get("info")).get("features"))
    except (KeyError, ValueError, RecursionError):
        return {}


def _class_names(feature: Any) -> tuple[str, ...]:
    """The names of a ClassLabel feature, in the order of their numbers; empty for any other."""
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return ()
    names = feature.get("names")
    if isinstance(names, dict):  # as dataset cards have it: {"0": "cat", ...}
        names = list(names.values())
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_binary(kind.field(at).type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return not _is_list(kind.value_type) and _holds_images(kind.value_type)
    return _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _image_column(file: Any, features: dict[str, Any], where: str, asked: str | None) -> tuple[str, list[str]]:
    """The column of images, and the other ones that could be."""
    schema = file.schema_arrow
    able = [str(field.name) for field in schema if _holds_images(field.type)]
    if asked is not None:
        if asked not in able:
            raise DataError(
                f"{where}: --image-column {asked}: no column of encoded images has that name; "
                f"{'there are ' + ', '.join(able) if able else 'found: ' + ', '.join(schema.names)}."
            )
        return asked, []
    if not able:
        raise DataError(
            f"{where}: no column of encoded images (binary, or struct with 'bytes'); found: {', '.join(schema.names)}."
        )
    likely = [name for name in able if "Image" in _types(features.get(name))]
    if not likely and len(able) > 1:
        likely = [name for name in able if _decodes(file, name, where)]
    likely = likely or able
    usual = [name for name in _IMAGES if name in likely]
    if len(likely) > 1 and not usual:
        raise DataError(
            f"{where}: several columns of images ({', '.join(likely)}). Choose one with --image-column NAME."
        )
    chosen = usual[0] if len(likely) > 1 else likely[0]
    return chosen, [name for name in likely if name != chosen]


def _types(feature: Any) -> set[str]:
    """The types that a feature names, also those of what is in a list."""
    if isinstance(feature, list):
        return set().union(*map(_types, feature[:1]))
    if not isinstance(feature, dict):
        return set()
    return {str(feature.get("_type"))} | (
        _types(feature["feature"]) if isinstance(feature.get("feature"), dict) else set()
    )


def _decodes(file: Any, column: str, where: str) -> bool:
    """Whether the first bytes in the column are an image's, by its header."""
    with reading(f"{where} is damaged: it"):
        batch = next(file.iter_batches(_PROBED, columns=[column]), None)
        cells = [] if batch is None else batch.column(0).to_pylist()
    first = next((data for cell in cells if (data := _bytes_of(cell)[0])), None)
    try:
        return first is not None and bool(Image.open(io.BytesIO(first), formats=FORMATS).size)
    except Exception:  # Pillow's plug-ins raise many types
        return False


def _label_column(schema: Any, where: str, asked: str | None) -> str | None:
    if asked is not None and asked not in schema.names:
        if asked == NO_LABEL:
            return None
        raise DataError(f"{where}: --label-column {asked}: no such column; found: {', '.join(schema.names)}.")
    label = asked or next((name for name in _LABELS if name in schema.names), None)
    if label is not None and _is_list(schema.field(label).type):
        raise DataError(
            f"{where}: column '{label}' holds a list of labels per image; one is needed. Choose another with --label-column NAME, "
            f"or none with --label-column {NO_LABEL}."
        )
    return label


def parquet_records(
    file: Any, where: str, table: ImageTable, left_out: LeftOutCounter | None = None
) -> Iterator[EncodedImage]:
    """The rows of a ParquetFile: a column of encoded images (struct with "bytes", or binary), optionally id or path,
    label (a name, or the number of a ClassLabel) and split.

    Raises:
        DataError: damaged pages.
    """
    names = file.schema_arrow.names
    wanted = [name for name in dict.fromkeys((table.image, table.label, "id", "path", "split")) if name in names]
    batches, number = file.iter_batches(_ROWS, columns=wanted), 0
    while True:
        with reading(f"{where} is damaged after row {number}: it"):  # pages, and values that Python has no type for
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        if batch is None:
            return
        for row in rows:
            with reading(f"{where}, row {number}"):
                yield _record(row, number, table, left_out)
            number += 1


def _bytes_of(cell: Any) -> tuple[bytes | None, str | None, int]:
    """The bytes of the first image in a cell, the path beside them, and how many further images there are."""
    more = 0
    if isinstance(cell, list):
        cell, more = (cell[0], len(cell) - 1) if cell else (None, 0)
    if isinstance(cell, dict):
        return cell.get("bytes"), cell.get("path"), more
    return cell, None, more


def _record(row: dict[str, Any], number: int, table: ImageTable, left_out: LeftOutCounter | None) -> EncodedImage:
    data, given, more = _bytes_of(row[table.image])
    key = str(row.get("id") or row.get("path") or given or f"{number:06d}")
    if more and left_out is not None:
        left_out.add("further images of one row", key, more)
    label = row.get(table.label) if table.label else None
    if table.classes and isinstance(label, (int, float)) and label == label:
        label = table.classes[int(label)] if 0 <= label < len(table.classes) else None  # -1 is Hugging Face's "unknown"
    problem = ""
    if not data:
        problem = f"no bytes, only the path '{given}': the images are not in the file" if given else "no bytes"
    elif len(data) > MAX_RECORD:
        problem = f"{len(data):,} bytes; at most {MAX_RECORD:,}"
    return EncodedImage(
        key, (data or b"") if not problem else b"", label_text(label), label_text(row.get("split")), problem
    )


def load_parquet(path: Path, size: int | None, strict: bool, read: ReadOptions = AS_FOUND) -> Dataset:
    """A column of encoded images (struct with "bytes", or plain binary), optionally label and split columns."""
    file = open_parquet(path, str(path))
    table = choose_columns(file, str(path), read.image_column, read.label_column)
    notes, left_out, used = list(table.notes), LeftOutCounter(), read.value_range
    decoded, labels, ids, splits = [], [], [], []
    skipped: list[Skipped] = []
    deep: list[tuple[int, bytes]] = []
    levels = []
    for record in parquet_records(file, str(path), table, left_out):
        try:
            if record.problem:
                raise ValueError(record.problem)
            decoded.append(decode(record.data, used))
        except ValueError as error:
            skipped.append(Skipped(record.key, str(error)))
            continue
        if (own := gray_levels(record.data)) is not None:
            levels.append(own)
            deep.append((len(decoded) - 1, record.data))
        labels.append(record.label)
        ids.append(record.key)
        splits.append(record.split or "train")
    if skipped and strict:
        raise DataError(f"{path}: {skipped[0].path}: {skipped[0].reason} ({len(skipped)} unreadable; --strict).")
    if not decoded:
        first = f"; first: {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"{path}: none of its {len(skipped)} images is readable{first}.")
    if levels:
        used = used or common_range(levels)
        for k, data in deep if read.value_range is None else ():
            decoded[k] = decode(data, used)
        notes.append(range_note(used, levels, given=read.value_range is not None))
    side = size or choose_size([image.size for image in decoded])
    images = np.stack([to_square(image, side) for image in decoded])
    if len(set(ids)) < len(ids):
        ids = [f"{i:06d}-{name}" for i, name in enumerate(ids)]
    known = {label for label in labels if label is not None}
    classes = table.classes
    # A name twice, or a label without a name: the schema's names cannot be trusted.
    if not known <= set(classes) or len(set(classes)) < len(classes):
        classes = tuple(sorted(known))
    order = {name: k for k, name in enumerate(classes)}
    numbers = np.array([UNLABELLED if v is None else order[v] for v in labels], dtype=np.int64)
    whole = ImageSet(images, np.array(ids), numbers if known else None, classes if known else ())
    which, more = splits_of_cells(splits)
    is_test = np.array([name == "test" for name in which])
    test = whole.take(np.flatnonzero(is_test)) if is_test.any() and not is_test.all() else None
    train = whole.take(np.flatnonzero(~is_test)) if test is not None else whole
    return Dataset(
        path.stem,
        str(path),
        train,
        test,
        fingerprint(train, test),
        tuple(skipped),
        (*notes, *more),
        left_out.all(),
        used if levels else None,
    )


def splits_of_cells(cells: list[str]) -> tuple[list[str], list[str]]:
    """ "train" or "test" for each cell of a split column, and notes on cells that name no split: their rows are train."""
    names = {cell: split_name(cell) for cell in set(cells)}
    serves = train_or_test(name for name in names.values() if name)
    unknown = sorted(cell for cell, name in names.items() if name is None)
    notes = []
    if unknown:
        count = sum(cells.count(cell) for cell in unknown)
        shown = ", ".join(map(repr, unknown[:5]))
        notes.append(f"{count:,} rows with a split that is none of {', '.join(SPLITS)} ({shown}) are taken as train")
    return [serves[name] if (name := names[cell]) else "train" for cell in cells], notes
