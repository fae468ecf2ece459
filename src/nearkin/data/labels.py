"""Labels and splits from a file: CSV, Parquet, JSON (COCO's, or rows), and which image each of its rows means."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearkin.data.layout import LEGAL_SPLITS, split_name, train_or_test
from nearkin.errors import DataError, reading
from nearkin.fileio import label_text, read_parquet, regular

# The first of these that is there names the image, or its label.
_PATHS = ("path", "file_name", "filename", "filepath", "image_path", "image", "file")
_LABELS = ("label", "labels", "class", "class_name", "category", "target")
_FLOAT = re.compile(r"[+-]?\d+\.0*")

LabelRows = dict[str, tuple[str | None, str | None]]  # path -> label or None, "train" or "test" or None


@dataclass(frozen=True)
class LabelFile:
    """Attributes:
    rows: as :data:`LabelRows`. notes: what a user should know of how the file was read.
    """

    rows: LabelRows
    notes: tuple[str, ...] = ()


def read_labels(file: Path, label_column: str | None = None) -> LabelFile:
    """Read the rows of a label file. A validation split joins train if there is a test split.

    Args:
        label_column: which column is the label; default: label, class, category or target.
    Raises:
        DataError: missing or unreadable file, missing column, unknown split name, a path named twice with two labels.
    """
    if not file.is_file():
        raise DataError(f"no label file at {file}.")
    read = {".parquet": _parquet, ".json": _json, ".jsonl": _json_lines}.get(file.suffix.lower(), _csv)
    records, notes = read(file, label_column)
    serves = train_or_test({name for _, _, split in records if split and (name := split_name(split))})
    rows: LabelRows = {}
    for number, (path, label, split) in enumerate(records, start=1):
        path = path.strip().replace("\\", "/").removeprefix("./")
        known = split_name(split) if split else None
        if split and known is None:
            raise DataError(f"{file}, row {number}: unknown split '{split}'. Legal: {', '.join(LEGAL_SPLITS)}.")
        row = (label, serves[known] if known else None)
        if rows.get(path, row) != row:
            raise DataError(f"{file}, row {number}: path '{path}' stands there twice.")
        rows[path] = row
    if not rows:
        raise DataError(f"{file} has no rows.")
    return LabelFile(rows, tuple(notes))


Records = tuple[list[tuple[str, str | None, str | None]], list[str]]


def _columns(file: Path, columns: Sequence[str], label_column: str | None) -> tuple[str, str | None, str | None]:
    """The names of the columns of path, label and split."""
    usual: dict[str, str] = {}  # "path" -> " Path", as spreadsheets have it
    for name in columns:
        usual.setdefault(str(name).strip().lower(), name)
    path = next((usual[name] for name in _PATHS if name in usual), None)
    if label_column is not None and label_column not in columns:
        raise DataError(f"{file}: no column '{label_column}'; found: {', '.join(map(str, columns)) or 'none'}.")
    label = label_column or next((usual[name] for name in _LABELS if name in usual), None)
    split = usual.get("split")
    if path is None or (label is None and split is None):
        raise DataError(
            f"{file}: needs the columns path and label (split optional); found: {', '.join(map(str, columns)) or 'none'}."
        )
    return path, label, split


def _text_of(file: Path) -> str:
    """A text file in UTF-8, or in the UTF-16 that spreadsheets write."""
    data = regular(file).read_bytes()
    return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")


def _csv(file: Path, label_column: str | None) -> Records:
    try:
        text = _text_of(file)
        # Spreadsheets write semicolons where the comma is the decimal sign.
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        path, label, split = _columns(file, list(reader.fieldnames or []), label_column)
        rows = [row for row in reader if row[path]]
    except (UnicodeDecodeError, csv.Error, OSError, ValueError) as error:
        raise DataError(f"{file} is not a readable CSV file ({error}). Save it as CSV in UTF-8.") from error
    labels = _numbers([label_text(row[label]) if label else None for row in rows])
    splits = [label_text(row[split]) if split else None for row in rows]
    return [(str(row[path]), *rest) for row, *rest in zip(rows, labels, splits, strict=True)], []  # type: ignore[misc]


def _numbers(labels: list[str | None]) -> list[str | None]:
    """Labels of a text file: where all are whole numbers written as fractions ("1.0", "nan"), the numbers."""
    known = {label for label in labels if label is not None}
    whole = {label for label in known if label.lower() == "nan" or _FLOAT.fullmatch(label)}
    if known != whole or not any(_FLOAT.fullmatch(label) for label in known):
        return labels
    return [label_text(float(label)) if label is not None else None for label in labels]


def _parquet(file: Path, label_column: str | None) -> Records:
    table = read_parquet(file, f"no label file at {file}.")
    path, label, split = _columns(file, table.column_names, label_column)
    with reading(file):  # values that Python has no type for
        rows = table.select([name for name in (path, label, split) if name is not None]).to_pylist()
    return _records(file, rows, path, label, split), []


def _records(
    file: Path, rows: Iterable[dict[str, Any]], path: str, label: str | None, split: str | None
) -> list[tuple[str, str | None, str | None]]:
    with reading(f"{file}: a label"):
        return [
            (
                str(row[path]),
                label_text(row.get(label)) if label else None,
                label_text(row.get(split)) if split else None,
            )
            for row in rows
            if row.get(path)
        ]


def _json_lines(file: Path, label_column: str | None) -> Records:
    with reading(f"{file} is not a readable JSON Lines file: it"):
        rows = [json.loads(line) for line in _text_of(file).splitlines() if line.strip()]
    return _objects(file, rows, label_column)


def _json(file: Path, label_column: str | None) -> Records:
    """COCO's annotations, a list of objects as rows, or one object of path: label."""
    with reading(f"{file} is not a readable JSON file: it"):
        value = json.loads(_text_of(file))
    if isinstance(value, dict) and {"images", "annotations", "categories"} <= set(value):
        with reading(f"{file}: COCO's annotations"):
            return _coco(value)
    if isinstance(value, dict):
        with reading(f"{file}: a label"):
            return [(str(path), label_text(label), None) for path, label in value.items()], []
    return _objects(file, value, label_column)


def _objects(file: Path, rows: Any, label_column: str | None) -> Records:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            f"{file} holds neither COCO's annotations, nor rows with path and label, nor an object of path: label."
        )
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return _records(file, rows, *_columns(file, columns, label_column)), []


def _coco(value: dict[str, Any]) -> Records:
    """An image whose annotations are all of one category has that label; of several, or none: no label."""
    names = {item["id"]: label_text(item["name"]) for item in value["categories"]}
    of: dict[Any, set[str | None]] = {item["id"]: set() for item in value["images"]}
    for item in value["annotations"]:
        if item["image_id"] in of:
            of[item["image_id"]].add(names.get(item["category_id"]))
    files = {item["id"]: str(item["file_name"]) for item in value["images"]}
    several, none = (
        sum(len(categories) > 1 for categories in of.values()),
        sum(not categories for categories in of.values()),
    )
    notes = []
    if several or none:
        notes.append(
            f"COCO annotations: of {len(of):,} images {several:,} show several categories and {none:,} none; they have no label"
        )
    return [
        (files[key], next(iter(categories)) if len(categories) == 1 else None, None) for key, categories in of.items()
    ], notes


def _composed(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _stem(path: str) -> str:
    folder, slash, name = _folded(path).rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    return folder + slash + (stem if dot and len(suffix) <= 5 and not suffix.isdigit() else name)


@dataclass(frozen=True)
class Matched:
    """Which rows of a label file mean which images.

    Attributes:
        row: image path -> the path that the file has for it. loosely: how many rows matched only after a change of spelling, by
            what was changed. unmatched: rows that name no image, or more than one.
    """

    row: dict[str, str]
    loosely: dict[str, int]
    unmatched: tuple[str, ...]


def match_rows(rows: Iterable[str], images: Iterable[str]) -> Matched:
    """Match by the path as it is; what is left by Unicode form, case, suffix, or by the end of either path.

    A row that would mean several images means none, and an image takes the first row that fits.
    """
    images = list(images)
    free: set[str] = set(images)
    matched: dict[str, str] = {}
    loosely: Counter[str] = Counter()
    rest = []
    for row in rows:
        if row in free:
            free.remove(row)
            matched[row] = row
        else:
            rest.append(row)
    steps: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("Unicode form", _composed),
        ("upper and lower case", _folded),
        ("missing or other suffix", _stem),
    )
    for what, key in steps:
        if rest and free:
            rest = _take(rest, _same_key(images, key), what, free, matched, loosely)
    if rest and free:
        rest = _take(rest, _same_end(images), "folders in front", free, matched, loosely)
    return Matched(matched, dict(loosely), tuple(rest))


def _same_key(images: list[str], key: Callable[[str], str]) -> Callable[[str], list[str]]:
    by_key: dict[str, list[str]] = {}
    for image in images:
        by_key.setdefault(key(image), []).append(image)
    return lambda row: by_key.get(key(row), [])


def _same_end(images: list[str]) -> Callable[[str], list[str]]:
    """A row "photos/a.png" for the image a.png (the folder's own name, or an absolute path), or "a.png" for x/a.png."""
    whole: dict[str, list[str]] = {}
    ends: dict[str, list[str]] = {}
    for image in images:
        folded = _folded(image)
        whole.setdefault(folded, []).append(image)
        parts = folded.split("/")
        for k in range(len(parts)):
            ends.setdefault("/".join(parts[k:]), []).append(image)

    def candidates(row: str) -> list[str]:
        folded = _folded(row)
        if folded in ends:
            return ends[folded]
        parts = folded.split("/")
        return next((whole[end] for k in range(1, len(parts)) if (end := "/".join(parts[k:])) in whole), [])

    return candidates


def _take(
    rows: list[str],
    candidates: Callable[[str], list[str]],
    what: str,
    free: set[str],
    matched: dict[str, str],
    loosely: Counter[str],
) -> list[str]:
    left = []
    for row in rows:
        images = candidates(row)
        if len(images) == 1 and images[0] in free:
            free.remove(images[0])
            matched[images[0]] = row
            loosely[what] += 1
        else:
            left.append(row)
    return left
