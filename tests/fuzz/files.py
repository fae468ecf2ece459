"""Hostile files as hypothesis strategies: whole files with bytes changed, and structures that no writer would make."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

Bytes = st.SearchStrategy[bytes]
_WORDS = [
    b"\0" * 4,
    b"\xff" * 4,
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"\0\0\0\x80",
    b"\0",
    b"\xff",
    b"\x80",
    b"{}",
    b"\n",
    b'"',
]
_BIG = st.sampled_from([0, 1, 3, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64])


@st.composite
def changed(draw: st.DrawFn, originals: tuple[bytes, ...]) -> bytes:
    """One of the files with up to four places overwritten, inserted, deleted, doubled or cut off."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(data))), draw(st.sampled_from([1, 4, 8, 64, 512]))
        word = draw(st.sampled_from(_WORDS) | st.binary(min_size=1, max_size=8))
        match draw(st.sampled_from(["set", "insert", "delete", "double", "cut"])):
            case "set":
                data[at : at + len(word)] = word
            case "insert":
                data[at:at] = word
            case "delete":
                del data[at : at + size]
            case "double":
                data[at:at] = data[at : at + size]
            case "cut":
                del data[at:]
    return bytes(data)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _BIG,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def like(draw: st.DrawFn, value: Any) -> Any:
    """JSON shaped as ``value``, in which one or two parts, at any depth, are missing or something else."""
    if not isinstance(value, dict) or not value or draw(st.integers(0, 9)) == 0:
        return draw(JSONS)
    made = dict(value)
    for name in draw(st.lists(st.sampled_from(sorted(value)), min_size=1, max_size=2)):
        match draw(st.integers(0, 3)):
            case 0:
                made.pop(name, None)
            case 1:
                made[name] = draw(JSONS)
            case _:
                made[name] = draw(like(value[name]))
    return made


def image_file(kind: str = "PNG", side: int = 16, value: int = 0) -> bytes:
    """An image of noise."""
    pixels = np.random.default_rng(value).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def npz(arrays: dict[str, Any], packed: bool = True) -> bytes:
    """An .npz, objects pickled where there are any."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of fields that old versions of NumPy could not read
        (np.savez_compressed if packed else np.savez)(buffer, **arrays)  # type: ignore[operator]
    return buffer.getvalue()


def npy(values: Any) -> bytes:
    """An .npy."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def any_npz(names: tuple[str, ...]) -> Bytes:
    """Arrays of any type and shape under some of these names."""
    kinds = hnp.scalar_dtypes() | hnp.unicode_string_dtypes(max_len=4) | hnp.byte_string_dtypes(max_len=4)
    kinds |= hnp.array_dtypes(max_size=2) | st.just(np.dtype(object))
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4) | st.sampled_from(
        [(3, 8, 8), (3, 4), (3,)]
    )
    arrays = st.tuples(kinds, shapes).flatmap(
        lambda pair: hnp.arrays(*pair) if pair[0].kind != "O" else _objects(pair[1])
    )
    return st.dictionaries(st.sampled_from(names), arrays, max_size=4).map(npz)


def _objects(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    return st.just(np.full(shape, None, dtype=object))


def any_npy() -> Bytes:
    """A header that claims any type and shape, before a few bytes."""
    shape = st.lists(_BIG | st.integers(-2, 5), max_size=4).map(tuple)
    kind = st.sampled_from(["<f4", "<f8", "|u1", "|O", "|S0", "|V0", "<U4", ">i2", "[('a','<f4')]", "junk", "<M8[s]"])
    header = st.tuples(kind, st.booleans(), shape).map(
        lambda t: f"{{'descr': {t[0]!r}, 'fortran_order': {t[1]}, 'shape': {t[2]!r}}}"
    ) | st.text(max_size=40)
    return st.tuples(header.map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=40)).map(
        lambda t: b"\x93NUMPY\x01\x00" + len(t[0]).to_bytes(2, "little") + t[0] + t[1]
    )


def any_zip(inner: bytes) -> Bytes:
    """Entries of any name, kind of compression and content."""
    name = st.sampled_from(
        ["a.png", "b/c.png", "../x.png", "/x.png", "a\\..\\b.png", "é.png", "<b>.png", "n\n.png", ".png"]
    )
    entry = st.tuples(name, st.just(inner) | st.binary(max_size=60), st.sampled_from([0, 8, 12, 14]))
    return st.lists(entry, max_size=4, unique_by=lambda e: e[0]).map(_zip)


def _zip(entries: list[tuple[str, bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content, kind in entries:
            archive.writestr(name, content, compress_type=kind)
    return buffer.getvalue()


def any_idx() -> Bytes:
    """Any type, rank and sizes, before any bytes."""
    sizes = st.lists(_BIG.map(lambda n: n & 0xFFFFFFFF) | st.integers(0, 9), max_size=5)
    head = st.tuples(st.sampled_from([8, 8, 8, 9, 13]), st.integers(0, 5) | st.just(None), sizes)
    return st.tuples(head, st.binary(max_size=64)).map(
        lambda t: (
            bytes([0, 0, t[0][0], len(t[0][2]) if t[0][1] is None else t[0][1]])
            + b"".join(n.to_bytes(4, "big") for n in t[0][2])
            + t[1]
        )
    )


def any_safetensors(names: tuple[str, ...]) -> Bytes:
    """A header with any types, shapes and offsets, before any bytes."""
    offsets = st.lists(_BIG | st.integers(0, 64), min_size=2, max_size=2)
    tensor = st.fixed_dictionaries(
        {"dtype": st.sampled_from(["F32", "I64", "U8", "F8_E4M3", "X"]), "data_offsets": offsets},
        optional={"shape": st.lists(_BIG | st.integers(-1, 8), max_size=3)},
    )
    header = st.dictionaries(st.sampled_from(names) | st.text(max_size=4), tensor | JSONS, max_size=3) | JSONS
    length = st.none() | _BIG.map(lambda n: n & 0xFFFFFFFF_FFFFFFFF)
    return st.tuples(header, length, st.binary(max_size=64)).map(_safetensors)


def _safetensors(parts: tuple[Any, int | None, bytes]) -> bytes:
    text = json.dumps(parts[0]).encode()
    return (len(text) if parts[1] is None else parts[1]).to_bytes(8, "little") + text + parts[2]


def parquet(columns: list[tuple[str, Any]], metadata: dict[bytes, bytes] | None = None) -> bytes:
    """A Parquet file; names may repeat."""
    table = pa.Table.from_arrays([column for _, column in columns], names=[name for name, _ in columns])
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata or {}), buffer)
    return buffer.getvalue()


def _columns() -> list[Any]:
    """Three rows of every kind of column that a table may hold."""
    png = image_file()
    lists = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    return [
        pa.array([1, 2, 3]),
        pa.array([0.5, float("nan"), 1e300]),
        pa.array(["a", None, "<b>\n"]),
        pa.array(["a", "a", "b"]).dictionary_encode(),
        pa.array([b"x", None, b"\xff"]),
        pa.array([png, png, b"no image"]),
        pa.array([{"bytes": png, "path": "a"}, {"bytes": None, "path": None}, None]),
        pa.array([{"bytes": "text"}, {"bytes": ""}, {"bytes": None}]),
        pa.array([{"bytes": 7}] * 3),
        pa.array(lists, pa.list_(pa.float32())),
        pa.array(lists, pa.list_(pa.float32(), 2)),
        pa.array([[1e300, 0.0]] * 3, pa.large_list(pa.float64())),
        pa.array([[1.0], None, [2.0]], pa.list_(pa.float32())),
        pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        pa.array([[1.0], [1.0, 2.0], []]),
        pa.array([[], [], []], pa.list_(pa.float32())),
        pa.array([["x"], ["y"], ["z"]]),
        pa.array([[[1.0]], [[2.0]], [[3.0]]]),
        pa.array([[None], [1.0], [2.0]], pa.list_(pa.float32())),
        pa.array([None, None, None]),
        pa.array([True, False, None]),
        pa.array([2**62, -(2**62), 0], pa.timestamp("us")),  # years that Python's dates do not reach
        pa.array([1, 2, 3], pa.duration("ns")),
        pa.array([10**30] * 3, pa.decimal128(38)),
        pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int32())),
        pa.array([1.0, 2.0, float("inf")], pa.float16()),
        # Text that is not UTF-8, which Arrow does not check on reading.
        pa.Array.from_buffers(
            pa.string(), 3, [None, pa.py_buffer(np.arange(4, dtype=np.int32)), pa.py_buffer(b"\xff\xfe\x80")]
        ),
    ]


def any_parquet(names: tuple[str, ...], key: bytes) -> Bytes:
    """Columns of any kind under some of these names (one of the first four surely), with JSON or junk as the schema's metadata."""
    kinds = _columns()
    kind = st.integers(0, len(kinds) - 1).map(kinds.__getitem__)
    first, more = st.tuples(st.sampled_from(names[:4]), kind), st.tuples(st.sampled_from(names), kind)
    columns = st.tuples(first, st.lists(more, max_size=3)).map(lambda t: [t[0], *t[1]])
    columns = columns | columns.map(lambda found: list(dict(found).items()))  # names twice, and not
    features = {
        "info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}},
        "classes": ["a"],
        "provenance": {},
    }
    meta = like(features).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)
    return st.tuples(columns, meta).map(lambda t: parquet(t[0], {key: t[1]}))
