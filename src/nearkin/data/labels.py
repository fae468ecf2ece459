"""Labels and splits from a CSV or Parquet file with the columns path, label and (optionally) split."""

from __future__ import annotations

import csv
from pathlib import Path

from nearkin.data.layout import SPLITS, train_or_test
from nearkin.errors import DataError, reading
from nearkin.fileio import read_parquet

LabelRows = dict[str, tuple[str | None, str | None]]


def read_labels(file: Path) -> LabelRows:
    """path -> (label or None, "train" or "test" or None). A validation split joins train where there is a test split.

    Raises:
        DataError: missing or unreadable file, missing column, unknown split name, a path named twice.
    """
    if not file.is_file():
        raise DataError(f"no label file at {file}.")
    records = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    serves = train_or_test({split.lower() for _, _, split in records if split} & set(SPLITS))
    rows: LabelRows = {}
    for number, (path, label, split) in enumerate(records, start=1):
        path = path.replace("\\", "/").removeprefix("./")
        if split is not None and split.lower() not in SPLITS:
            raise DataError(f"{file}, row {number}: unknown split '{split}'. Legal: {', '.join(SPLITS)}.")
        if path in rows:
            raise DataError(f"{file}, row {number}: path '{path}' stands there twice.")
        rows[path] = (label, serves[split.lower()] if split else None)
    if not rows:
        raise DataError(f"{file} has no rows.")
    return rows


def _clean(value: object) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None


def _csv(file: Path) -> list[tuple[str, str | None, str | None]]:
    try:
        with open(file, encoding="utf-8-sig", newline="") as handle:
            header = handle.readline()
            handle.seek(0)
            # Spreadsheets write semicolons where the comma is the decimal sign.
            delimiter = max(",;\t", key=header.count)
            reader = csv.DictReader(handle, delimiter=delimiter, skipinitialspace=True)
            columns = reader.fieldnames or []
            _check(file, list(columns))
            return [
                (str(row["path"]), _clean(row.get("label")), _clean(row.get("split"))) for row in reader if row["path"]
            ]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{file} is not a readable CSV file ({error}). Save it as CSV in UTF-8.") from error


def _parquet(file: Path) -> list[tuple[str, str | None, str | None]]:
    table = read_parquet(file, f"no label file at {file}.")
    _check(file, table.column_names)
    with reading(file):  # values that Python has no type for
        rows = table.select([name for name in ("path", "label", "split") if name in table.column_names]).to_pylist()
    return [(str(row["path"]), _clean(row.get("label")), _clean(row.get("split"))) for row in rows if row["path"]]


def _check(file: Path, columns: list[str]) -> None:
    if "path" not in columns or not {"label", "split"} & set(columns):
        raise DataError(
            f"{file}: needs the columns path and label (split optional); found: {', '.join(columns) or 'none'}."
        )
