"""Files: written whole or not at all; read with one line on what is wrong; one process per output folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path, PurePath
from types import UnionType
from typing import IO, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DamagedFile, DataError, OutputError, reading

T = TypeVar("T")
_BATCH_VALUES = 2**23
_LARGEST_JSON = 1 << 28  # bytes; results.json of a large study has some MiB
MOST_UNPACKED = 4 * 1024**3
_MOST_RATIO = 200  # images and vectors shrink by less than 20; DEFLATE reaches 1032, Parquet's runs more


def write_file(
    path: Path,
    fill: Callable[[IO[bytes]], object],
    fix: str = "Free space or choose another -o.",
    *,
    temporary: Path | None = None,
) -> None:
    """Write a file whole or not at all.

    Args:
        fill: writes the content to the handle that it gets.
        fix: the end of the message when the disk refuses.
        temporary: the file that is written first and then renamed; default: the path with ".tmp" behind. No other process
            may write to it.
    Raises:
        OutputError: the disk refuses.
    """
    temporary = temporary or path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as handle:
            fill(handle)
        put_in_place(temporary, path)
    except OSError as error:
        if temporary.exists():
            temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}. {fix}") from error


def put_in_place(temporary: Path, path: Path) -> None:
    """Flush to disk, then rename. Otherwise a power cut could leave an empty file under the new name."""
    with open(temporary, "rb+") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text. Raises OutputError when the disk refuses."""
    write_file(path, lambda handle: handle.write(text.encode("utf-8", "surrogateescape")))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, NaN refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write a compressed .npz without pickles."""
    write_file(path, lambda handle: np.savez_compressed(handle, allow_pickle=False, **arrays))


def check_unpacked(what: object, unpacked: int, size: int) -> None:
    """Refuse a decompression bomb: a file of ``size`` bytes, by what it announces itself.

    Raises:
        DataError: it unpacks to more than 4 GiB and to more than 200 times its size.
    """
    if unpacked > max(MOST_UNPACKED, _MOST_RATIO * size):
        raise DataError(f"{what} unpacks to {unpacked:,} bytes, more than {_MOST_RATIO} times its size; refused.")


def read_parquet(path: Path, missing: str, fix: str = "") -> Any:
    """Read an Arrow table; of a folder all .parquet files in it. ``fix`` ends the message on an unreadable file.

    Raises:
        DataError: with ``missing`` when there is no file; it is no readable Parquet; two columns share a name; a
            decompression bomb.
    """
    import pyarrow.parquet as pq

    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
    if not files:
        raise DataError(missing)
    with reading(f"{path} is not a readable Parquet file: it", fix):
        for file in files:
            check_parquet(file, pq.read_metadata(regular(file)), file.stat().st_size)
        table = _read_table(path) if path.is_file() else pq.read_table(files)
        table.validate(full=True)  # text that is not UTF-8 and invalid offsets would fail much later
        return table


def _read_table(file: Path) -> Any:
    """Read by batches: levels and offsets of lists, decoded for a whole group of rows, take more than twice their values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        about = opened.metadata
        values = sum(
            about.row_group(g).column(c).num_values
            for g in range(about.num_row_groups)
            for c in range(about.num_columns)
        )
        rows = min(2**16, max(2**8, _BATCH_VALUES * about.num_rows // max(1, values)))
        return pa.Table.from_batches(opened.iter_batches(rows), opened.schema_arrow)


def regular(path: Path) -> Path:
    """``path`` if it is no pipe or device, because opening those may block for ever. Raises ValueError."""
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")
    return path


def check_parquet(what: object, metadata: Any, size: int) -> None:
    """Refuse two columns of one name, and a bomb.

    Runs of equal values make a Parquet file small in any codec: the values are counted, not the bytes.

    Raises:
        ValueError: two columns of one name. DataError: a bomb.
    """
    names = metadata.schema.to_arrow_schema().names
    if len(set(names)) < len(names):
        raise ValueError(f"two columns named '{next(name for name in names if names.count(name) > 1)}'")
    columns = [
        metadata.row_group(g).column(c) for g in range(metadata.num_row_groups) for c in range(metadata.num_columns)
    ]
    check_unpacked(what, sum(max(8 * column.num_values, column.total_uncompressed_size) for column in columns), size)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz, or of an .npy under the name "". Without pickles.

    Raises:
        DataError: missing, damaged, object arrays (they would need pickle), or a decompression bomb.
    """
    import zipfile

    try:
        with reading(path), open(regular(path), "rb") as handle:
            if zipfile.is_zipfile(handle):
                with zipfile.ZipFile(handle) as archive:
                    check_unpacked(path, sum(item.file_size for item in archive.infolist()), path.stat().st_size)
            handle.seek(0)
            loaded = np.load(handle, allow_pickle=False)
            return {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except DataError as error:
        if "Object arrays" in str(error):
            text = f"{path} holds Python objects, which are refused as unsafe; save plain arrays."
            raise DataError(text) from error
        raise


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def guarded(path: Path, kind: str, read: Callable[[Path], T]) -> T:
    """``read(path)``, where ``path`` is a regular file that nobody vouches for.

    Hostile content makes parsers raise nearly anything, and all of it means the same here.

    Args:
        kind: what the file should be, for the message: "JSON".
    Raises:
        DamagedFile: it is missing, no regular file (opening a pipe would wait for ever), or ``read`` failed.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DamagedFile(path, "is not a regular file")
        return read(path)
    except DamagedFile:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedFile(path, "is missing", missing=True) from error
    except Exception as error:
        raise DamagedFile(path, f"cannot be read as {kind} ({type(error).__name__}: {error})") from error


def read_json(path: Path) -> Any:
    """Read JSON of at most 256 MiB. Raises DamagedFile."""

    def read(file: Path) -> Any:
        if file.stat().st_size > _LARGEST_JSON:
            raise DamagedFile(path, f"is larger than {_LARGEST_JSON >> 20} MiB")
        return json.loads(file.read_text(encoding="utf-8"))

    return guarded(path, "JSON", read)


def read_object(path: Path, **needed: type) -> dict[str, Any]:
    """Read a JSON object that has the entries ``needed``, each of its type (a bool is no int).

    Raises:
        DamagedFile: it is missing, unreadable, no object, or lacks an entry.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DamagedFile(path, "holds no JSON object")
    for name, kind in needed.items():
        entry = value.get(name)
        if not isinstance(entry, kind) or (kind is int and isinstance(entry, bool)):
            raise DamagedFile(path, f"has no usable '{name}'")
    return value


def as_object(value: Any) -> dict[str, Any]:
    """``value`` if it is a JSON object, else {}. For nested values of foreign files."""
    return value if isinstance(value, dict) else {}


# How :func:`to_json` writes a dataclass field, if not under its own name: ``field(metadata=LEFT_OUT)``.
LEFT_OUT: dict[str, str | None] = {"json": None}  # not at all
MERGED: dict[str, str | None] = {"json": "**"}  # the entries of its dict or dataclass stand among the object's own
IF_KNOWN: dict[str, str | None] = {"json_none": None}  # under its own name, and not at all where it is None
IF_ANY: dict[str, str | None] = {
    "json_empty": None
}  # under its own name, and not at all where it is an empty tuple or dict


def named(name: str) -> dict[str, str | None]:
    """``field(metadata=named("AUROC"))``: the field stands in JSON under that name."""
    return {"json": name}


def to_json(value: Any) -> Any:
    """``value`` as JSON types, which :mod:`json` reads back equal: dict with str keys, list, str, int, float, bool and None.

    Dataclasses become dicts of their fields (see ``LEFT_OUT``, ``MERGED``, ``IF_KNOWN``, ``IF_ANY`` and :func:`named`), tuples and
    arrays lists, numpy scalars numbers, paths text. Floats stay as they are: NaN is refused when it is written.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, np.ndarray | np.generic):  # first: np.float64 is a float, too
        return value.tolist()
    if value is None or isinstance(value, str | int | float):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Any] = {}
        for item in fields(value):
            name = item.metadata.get("json", item.name)
            if name == "**":
                out |= to_json(getattr(value, item.name))
            elif (
                "json_none" in item.metadata
                and getattr(value, item.name) is None
                or "json_empty" in item.metadata
                and not getattr(value, item.name)
            ):
                continue
            elif name is not None:
                out[name] = to_json(getattr(value, item.name))
        return out
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else json.dumps(to_json(key)): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


def from_json(kind: type[T], value: Any) -> T:
    """The inverse of :func:`to_json`: ``value``, as json reads it, as a ``kind``, such as a dataclass.

    An entry that is missing gets the field's default, or None where the field allows it: older files lack newer entries.
    Entries that no field names are left out, or go where ``MERGED`` says.

    Raises:
        ValueError: an entry is missing or of another type, or a number is not finite. One line, which names the entry.
    """
    return cast(T, _decode(kind, value, ""))


def _decode(kind: Any, value: Any, at: str) -> Any:
    origin, of = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Union or origin is UnionType:
        return None if value is None else _decode(next(k for k in of if k is not type(None)), value, at)
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"has no usable '{at or kind.__name__}'")
        return _dataclass(kind, value, at)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value) if isinstance(value, int) else value
    if kind is not float and isinstance(kind, type) and type(value) is kind:
        return value
    if origin is tuple and isinstance(value, list):
        each = [of[0]] * len(value) if of[1:] == (...,) else list(of)
        if len(each) == len(value):
            return tuple(_decode(item, entry, at) for item, entry in zip(each, value, strict=True))
    if origin is dict and isinstance(value, dict):
        return {key: _decode(of[1], entry, f"{at}.{key}".lstrip(".")) for key, entry in value.items()}
    if origin is np.ndarray and isinstance(value, list):
        return np.array(value, dtype=get_args(of[1])[0])
    raise ValueError(f"has no usable '{at}'")


def _dataclass(kind: Any, value: dict[str, Any], at: str) -> Any:
    hints, taken, given = get_type_hints(kind), set(), {}
    merged = None
    for item in fields(kind):
        name = item.metadata.get("json", item.name)
        if name == "**":
            merged = item.name
        elif name is not None:
            taken.add(name)
            optional = type(None) in get_args(hints[item.name])
            if name in value or (optional and item.default is MISSING and item.default_factory is MISSING):
                given[item.name] = _decode(hints[item.name], value.get(name), f"{at}.{name}".lstrip("."))
            elif item.default is MISSING and item.default_factory is MISSING:
                raise ValueError(f"has no usable '{f'{at}.{name}'.lstrip('.')}'")
    if merged is not None:
        given[merged] = _decode(hints[merged], {k: v for k, v in value.items() if k not in taken}, at)
    return kind(**given)


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON-able value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


_LOCK = ".lock"


def claim(folder: Path) -> None:
    """Create ``folder`` and make sure files can be written there. Raises OutputError otherwise."""
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}. Choose another -o.") from error


def claim_files(*files: Path | None, source: Path | None = None) -> None:
    """Check, before anything is computed, that files can be written. None stands for a file that was not asked for.

    Args:
        source: the file that is read, which none of them may replace.
    Raises:
        OutputError: a folder of that name, the source itself, or a folder that cannot be written.
    """
    for file in files:
        if file is None:
            continue
        if file.is_dir():
            raise OutputError(f"cannot write {file}: it is a folder. Give the name of a file.")
        if source is not None and file.exists() and source.exists() and file.samefile(source):
            raise OutputError(f"cannot write {file}: it is what is read, and would be lost. Choose another name.")
        claim(file.parent)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Claim ``folder`` and hold it: two processes that train into one folder would mix their checkpoints and metrics.

    The lock is the operating system's, so that it ends with its process, kill -9 included; the empty file stays.

    Raises:
        OutputError: another process holds it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    claim(folder)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"another nearkin process is writing to {folder}. Wait for it to end, or choose another -o."
        ) from None
    try:
        yield
    finally:
        lock.release()


def label_text(value: Any) -> str | None:
    """A label of any table as text: the one rule for CSV, Parquet, JSON, arrays and embeddings.

    None for what is missing: None, NaN, NaT, empty text. A fraction that is a whole number is written as one, because pandas
    makes fractions of whole numbers where some are missing.

    Raises:
        ValueError: several values in one cell, or bytes that are no text.
    """
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (not isinstance(value, (list, tuple, dict, np.ndarray)) and value != value):
        return None
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        raise ValueError(f"a label must be one value, not several: {str(value)[:50]}")
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None
