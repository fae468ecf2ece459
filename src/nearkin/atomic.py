"""Atomic writes: a file is either the old one or the whole new one. Reads that tell what is wrong in one line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError, OutputError


def write_file(path: Path, fill: Callable[[IO[bytes]], object], fix: str = "Free space or choose another -o.") -> None:
    """Make a file of what ``fill`` writes. Raises OutputError, which ends with ``fix``, when the disk refuses."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as handle:
            fill(handle)
        os.replace(temporary, path)
    except OSError as error:
        if temporary.exists():
            temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}. {fix}") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text. Raises OutputError when the disk refuses."""
    write_file(path, lambda handle: handle.write(text.encode("utf-8", "surrogateescape")))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, NaN refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write a compressed .npz without pickles."""
    write_file(path, lambda handle: np.savez_compressed(handle, allow_pickle=False, **arrays))


def read_parquet(path: Path, missing: str) -> Any:
    """Read an Arrow table; of a folder all .parquet files in it.

    Raises DataError with ``missing`` when there is no file, and when it is no readable Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not path.is_dir():
            return pq.read_table(path)
        if files := sorted(path.glob("*.parquet")):
            return pq.read_table(files)
        raise DataError(missing)
    except FileNotFoundError as error:
        raise DataError(missing) from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON-able value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read JSON. Raises DataError when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"no file {path}; is this a folder written by 'nearkin study'?") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and run again.") from error
