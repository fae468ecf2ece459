"""Embeddings: the waist of nearkin. Everything after training reads these, never a model.

On disk: Parquet with one row per image and the columns id (string), label (string class name, null where
unknown), split (string) and embedding (fixed-size list of float32), plus JSON under the schema's metadata key
``nearkin`` (classes and provenance).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, reading
from nearkin.fileio import as_object, label_text, read_arrays, read_object, read_parquet, write_file
from nearkin.vectors import finite_rows, sample_rows

_METADATA_KEY = b"nearkin"
_MAP_ROWS = 400
_BELOW = ("embeddings/*.parquet", "runs/*/embeddings/*.parquet")  # where a run and a study keep theirs
_SHOWN = 8  # names in a message
_GROUP_BYTES = 2**26
PARTS = "_parts.json"  # in a folder of embeddings: the names of the files that it has when it is whole


@dataclass(frozen=True)
class Embeddings:
    """One vector per image.

    Attributes:
        Z: float32 (N, D), finite.
        ids: str (N,), as in the ImageSet.
        labels: int64 (N,), index into ``classes``, -1 where unknown; None without labels.
        split: str (N,), "train", "val" or "test".
        classes: class names in label order.
        provenance: JSON-able record (method, layer, seed, data set, versions).
    """

    Z: NDArray[np.float32]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None
    split: NDArray[np.str_]
    classes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.Z.ndim != 2 or len(self.Z) != len(self.ids) or len(self.Z) != len(self.split):
            raise DataError(
                f"embeddings: Z {self.Z.shape}, {len(self.ids)} ids and {len(self.split)} splits do not match; "
                "expected Z (N, D) with N ids and N splits."
            )
        if self.labels is not None and len(self.labels) != len(self.Z):
            raise DataError(f"embeddings: {len(self.labels)} labels for {len(self.Z)} vectors.")

    def __len__(self) -> int:
        return len(self.Z)

    @property
    def labelled(self) -> bool:
        """Whether any image has a known label."""
        return self.labels is not None and bool((self.labels >= 0).any())

    @property
    def image_size(self) -> int | None:
        """Side in pixels of the images that the vectors were made of, where the provenance says it."""
        side = self.provenance.get("image_size")
        return side if isinstance(side, int) and 8 <= side <= 1024 else None

    def part(self, split: str, *, copy: bool = True) -> Embeddings:
        """Return the rows of one split, in stored order (possibly none).

        copy: False lets rows that lie together share the memory of ``Z``, which stays as long as they do.
        """
        rows = np.flatnonzero(self.split == split)
        together = not copy and len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
        return self.take(slice(int(rows[0]), int(rows[-1]) + 1) if together else rows)

    def take(self, index: NDArray[np.int64] | slice) -> Embeddings:
        """Return the rows at ``index`` (int64 (M,), or a slice, which copies nothing)."""
        return Embeddings(
            self.Z[index],
            self.ids[index],
            None if self.labels is None else self.labels[index],
            self.split[index],
            self.classes,
            self.provenance,
        )

    def with_splits(self, random_state: int = 0) -> tuple[Embeddings, str | None]:
        """Hold out the splits that an evaluation needs and that are not there, at random, and say so.

        Without test rows, a fifth of the train rows becomes test; without val rows, a tenth of the train rows becomes val.

        Returns:
            The embeddings, and what was done, in words; None where nothing was.
        Raises:
            DataError: no train rows, or fewer than 8.
        """
        named = sorted(set(self.split.tolist()))
        if "train" not in named:
            raise DataError(
                f"the rows have the splits {', '.join(named[:_SHOWN])}; one must be 'train' (and test and val may be)."
            )
        split = self.split.copy()
        rng = np.random.default_rng(random_state)
        notes = []
        for name, share in (("test", 0.2), ("val", 0.1)):
            if not (split == name).any():
                rows = rng.permutation(np.flatnonzero(split == "train"))
                if len(rows) < 8:
                    raise DataError(
                        f"{len(rows)} training rows are too few to hold out {name} rows; at least 8 are needed."
                    )
                split[rows[: max(1, round(len(rows) * share))]] = name
                notes.append(f"{share:.0%} of train held out as {name}")
        if unused := [name for name in named if name not in ("train", "val", "test")]:
            notes.append(f"rows of split {', '.join(unused[:_SHOWN])} are not used")
        return (replace(self, split=split), "; ".join(notes)) if notes else (self, None)

    def save(self, path: Path) -> None:
        """Write Parquet by atomic rename. Raises OutputError when the folder cannot be written."""
        table = self.to_arrow()
        # Arrow encodes a whole row group in memory.
        rows = max(1, _GROUP_BYTES // max(1, self.Z[:1].nbytes))
        write_file(path, lambda handle: pq.write_table(table, handle, row_group_size=rows))

    def names(self) -> list[str | None]:
        """The class name of each row, None where unknown."""
        if self.labels is None:
            return [None] * len(self)
        return [self.classes[k] if k >= 0 else None for k in self.labels]

    def to_arrow(self) -> pa.Table:
        """An Arrow table with the columns id, label, split and embedding (fixed-size list of float32)."""
        values = pa.array(np.ascontiguousarray(self.Z, dtype=np.float32).reshape(-1))
        table = pa.table(
            {
                "id": pa.array(self.ids.tolist(), pa.string()),
                "label": pa.array(self.names(), pa.string()),
                "split": pa.array(self.split.tolist(), pa.string()),
                "embedding": pa.FixedSizeListArray.from_arrays(values, self.Z.shape[1]),
            }
        )
        meta = json.dumps({"classes": list(self.classes), "provenance": self.provenance})
        return table.replace_schema_metadata({_METADATA_KEY: meta.encode()})

    @classmethod
    def from_arrow(cls, table: pa.Table, where: str = "the table") -> Embeddings:
        """The inverse of :meth:`to_arrow`, for any table with an ``embedding`` column; id, label and split may be missing.

        Args:
            where: what messages call the table.
        Raises:
            DataError: no such column, or no equally long finite vectors in it.
        """
        return _from_table(table, where)

    def to_pandas(self) -> Any:
        """A pandas DataFrame with the columns id, label, split and embedding (float32 (D,) per row).

        Classes and provenance stand in ``attrs["nearkin"]``. Raises ConfigError without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise ConfigError(
                "to_pandas needs pandas: pip install 'nearkin[pandas]'. to_arrow needs nothing."
            ) from error
        frame = pandas.DataFrame(
            {"id": self.ids.tolist(), "label": self.names(), "split": self.split.tolist(), "embedding": list(self.Z)}
        )
        frame.attrs["nearkin"] = {"classes": list(self.classes), "provenance": self.provenance}
        return frame

    @classmethod
    def from_pandas(cls, frame: Any) -> Embeddings:
        """The inverse of :meth:`to_pandas`, for any DataFrame with an ``embedding`` column. Raises DataError."""
        try:
            table = pa.Table.from_pandas(frame, preserve_index=False)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError(f"the DataFrame cannot be read: {str(error).splitlines()[0]}") from error
        meta = json.dumps(frame.attrs.get("nearkin", {}), default=str)
        return _from_table(table.replace_schema_metadata({_METADATA_KEY: meta.encode()}), "the DataFrame")

    def to_numpy(self) -> dict[str, NDArray[Any]]:
        """Arrays as :meth:`load` reads them from an .npz: embedding (N, D), id, split, and label ("" where unknown)."""
        out: dict[str, NDArray[Any]] = {"embedding": self.Z, "id": self.ids, "split": self.split}
        return out if self.labels is None else out | {"label": np.array([name or "" for name in self.names()])}

    @classmethod
    def from_numpy(cls, Z: NDArray[Any], *, ids: Any = None, labels: Any = None, split: Any = None) -> Embeddings:
        """Embeddings of an array of numbers.

        Args:
            Z: (N, D). ids, split: (N,), default "0".."N-1" and "train". labels: (N,) names or whole numbers, "" unknown.
        Raises:
            DataError: other shapes or types, or vectors that are not finite.
        """
        given = {"embedding": Z, "id": ids, "split": split, "label": labels}
        return _from_arrays({k: np.asarray(v) for k, v in given.items() if v is not None}, "the array")

    def _repr_html_(self) -> str:
        """Facts and a map of the first two principal components (at most 400 rows), for notebooks."""
        from nearkin.format import facts_html, scatter_html

        known = 0 if self.labels is None else int((self.labels >= 0).sum())
        facts: dict[str, Any] = {"vectors": f"{len(self):,} of {self.Z.shape[1]} dimensions" if len(self) else "none"}
        facts |= {name: f"{int((self.split == name).sum()):,}" for name in sorted(set(self.split.tolist()))}
        facts["labels"] = f"{known:,}, {len(self.classes)} classes" if known else "none"
        facts |= {key: self.provenance[key] for key in ("method", "layer", "seed") if key in self.provenance}
        if len(self) < 3:
            return facts_html(facts)
        part = self.take(sample_rows(len(self), _MAP_ROWS))
        centred = part.Z.astype(np.float64) - part.Z.mean(axis=0, dtype=np.float64)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        xy = np.pad(u * s, ((0, 0), (0, 2)))[:, :2]
        return facts_html(facts) + scatter_html(xy, part.names())

    @classmethod
    def load(cls, path: Path) -> Embeddings:
        """Read embeddings written by :meth:`save`, any Parquet with an ``embedding`` list column, .npy or .npz.

        A folder of such Parquet files is read whole, in the order of their names.

        A .npy holds (N, D) numbers; an .npz holds them as ``embedding`` (or its only array) and may hold ``id`` or
        ``ids``, ``split``, and ``label`` or ``labels`` (names or whole numbers).

        Raises DataError when the file is missing, unreadable, lacks the vectors, or holds values that are not finite.
        """
        if path.suffix in (".npy", ".npz"):
            return _load_numpy(path)
        missing = f"no embeddings at {path}. Make them with 'nearkin embed' or 'nearkin study'."
        inside = next((file for part in _BELOW for file in sorted(path.glob(part))), None)
        if inside is not None and not any(path.glob("*.parquet")):
            missing = f"{path} is the folder of a study or run; name one of its embeddings, e.g. {inside}."
        if (path / PARTS).exists():
            wanted = [f"{name}.parquet" for name in read_object(path / PARTS, parts=list)["parts"]]
            present = {file.name for file in path.glob("*.parquet")}
            if absent := [name for name in wanted if name not in present]:
                raise DataError(
                    f"{path} lacks {len(absent)} of its {len(wanted)} parts, first {absent[0][:100]}. "
                    "Run the same 'nearkin embed' again to finish it."
                )
        # The only reference is handed over, so that the table's vectors can be freed while they are copied.
        return _from_table(read_parquet(path, missing, "Embeddings are read from .parquet, .npy and .npz."), str(path))


def as_embeddings(vectors: Embeddings | NDArray[Any]) -> Embeddings:
    """``vectors`` if they are Embeddings; an array (N, D) of numbers becomes Embeddings, as by :meth:`Embeddings.from_numpy`."""
    return vectors if isinstance(vectors, Embeddings) else Embeddings.from_numpy(np.asarray(vectors))


def rows_of(split: NDArray[np.str_], wanted: str) -> NDArray[np.int64]:
    """Rows of one split, or of "all". Raises ConfigError when there are none."""
    rows: NDArray[np.int64] = np.arange(len(split)) if wanted == "all" else np.flatnonzero(split == wanted)
    if not len(rows):
        legal = ", ".join(["all", *sorted(set(split.tolist()))])
        raise ConfigError(f"no rows with split '{wanted}'; --split can be: {legal}.")
    return rows


def _from_table(table: pa.Table, path: str) -> Embeddings:
    """Embeddings of an Arrow table; ``path`` is what messages call it."""
    if "embedding" not in table.column_names:
        found = ", ".join([*table.column_names[:_SHOWN], *["..."] * (len(table.column_names) > _SHOWN)])
        raise DataError(f"{path} has no column 'embedding', a list of numbers per row; found: {found}.")
    with reading(path):
        columns = {
            name: table.column(name).to_pylist() for name in ("id", "split", "label") if name in table.column_names
        }
        meta = as_object(json.loads((table.schema.metadata or {}).get(_METADATA_KEY, b"{}")))
        chunks, kind = table.column("embedding").chunks, table.schema.field("embedding").type
        del table
        flat = drain(chunks, kind, path)
        n = len(flat)
        names = [label_text(value) for value in columns.get("label", [None] * n)]
    ids = [str(name) for name in columns.get("id", range(n))]
    split = [str(name) for name in columns.get("split", ["train"] * n)]
    known = {name for name in names if name is not None}
    told = meta.get("classes")
    classes = tuple(str(name) for name in told) if isinstance(told, list) else ()
    if not known <= set(classes) or len(set(classes)) < len(classes):  # labels were changed after nearkin wrote them
        classes = tuple(sorted(known))
    index = {name: k for k, name in enumerate(classes)}
    labels = None
    if known:
        labels = np.array([-1 if name is None else index[name] for name in names], dtype=np.int64)
    return Embeddings(
        flat,
        np.array(ids, dtype=np.str_),
        labels,
        np.array(split, dtype=np.str_),
        classes if known else (),
        as_object(meta.get("provenance")),
    )


def _load_numpy(path: Path) -> Embeddings:
    if not path.exists():
        raise DataError(f"no embeddings at {path}. Make them with 'nearkin embed' or 'nearkin study'.")
    arrays = read_arrays(path)
    return _from_arrays({"embedding": arrays[""]} if list(arrays) == [""] else arrays, str(path))


def _from_arrays(arrays: dict[str, NDArray[Any]], path: str) -> Embeddings:
    """Embeddings of named arrays; ``path`` is what messages call them."""
    if "embedding" not in arrays and len(arrays) == 1:
        arrays = {"embedding": next(iter(arrays.values()))}
    Z = arrays.get("embedding")
    if Z is None or Z.ndim != 2 or 0 in Z.shape or Z.dtype.kind not in "fiu":
        found = ", ".join(f"{name} {value.dtype}{value.shape}" for name, value in arrays.items())
        raise DataError(f"{path} must hold an array 'embedding' (N, D) of numbers; found: {found}.")
    n = len(Z)
    ids, split = _column(arrays, path, n, "id", "ids"), _column(arrays, path, n, "split")
    named = _column(arrays, path, n, "label", "labels")
    classes: tuple[str, ...] = ()
    labels: NDArray[np.int64] | None = None
    if named is not None:
        texts = named if named.dtype.kind == "f" else _words(named, path)
        words = np.array([label_text(value) or "" for value in texts.tolist()])
        classes = tuple(np.unique(words[words != ""]).tolist())
        index = {name: k for k, name in enumerate(classes)}
        labels = np.array([index.get(word, -1) for word in words.tolist()], dtype=np.int64)
    return Embeddings(
        finite(Z, path),
        np.arange(n).astype(np.str_) if ids is None else _words(ids, path),
        labels,
        np.full(n, "train") if split is None else _words(split, path),
        classes,
    )


def _words(values: NDArray[Any], path: str) -> NDArray[np.str_]:
    with reading(f"{path}: a column of text"):  # bytes that are no text, or records
        return values.astype(np.str_)


def _column(arrays: dict[str, NDArray[Any]], path: str, n: int, *names: str) -> NDArray[Any] | None:
    """The first of the named arrays that exists. Raises DataError unless it has one value per row."""
    for name in names:
        if name in arrays:
            if arrays[name].shape != (n,):
                raise DataError(f"{path}: array '{name}' has shape {arrays[name].shape}; expected ({n},).")
            return arrays[name]
    return None


def drain(chunks: list[Any], kind: Any, path: str) -> NDArray[np.float32]:
    """The chunks of a list column of Arrow type ``kind`` -> float32 (N, D).

    ``chunks`` is emptied: each chunk is freed once it is copied, so that the vectors are not twice in memory.

    Raises:
        DataError: anything but equally long vectors of numbers.
    """
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not listed or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise DataError(f"{path}: column 'embedding' must hold lists of numbers; it holds {kind}.")
    n = sum(len(chunk) for chunk in chunks)
    lengths = {length for chunk in chunks for length in pc.unique(pc.list_value_length(chunk)).to_pylist()}
    if n == 0 or len(lengths) != 1 or lengths <= {0, None}:
        raise DataError(f"{path}: column 'embedding' must hold one vector of equal length per row.")
    out = np.empty((n, lengths.pop()), dtype=np.float32)
    done = 0
    chunks.reverse()
    while chunks:
        chunk = chunks.pop()
        part = chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), out.shape[1])
        with np.errstate(over="ignore"):
            out[done : done + len(chunk)] = part
        done += len(chunk)
        del chunk, part
        pa.default_memory_pool().release_unused()  # Arrow's pool keeps freed memory otherwise
    return _checked(out, path)


def finite(values: NDArray[Any], path: str) -> NDArray[np.float32]:
    """``Z`` as float32. Raises DataError for values that are not finite in float32."""
    with np.errstate(over="ignore"):
        return _checked(values.astype(np.float32), path)


def _checked(Z: NDArray[np.float32], path: str) -> NDArray[np.float32]:
    bad = np.flatnonzero(~finite_rows(Z))
    if len(bad):
        raise DataError(
            f"{path}: {len(bad)} of {len(Z)} vectors hold NaN or infinity, first in row {bad[0]}. Leave those rows out."
        )
    return Z
