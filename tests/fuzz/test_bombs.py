"""Small files that would become large, headers that promise the world, files that are no files, names that are no text."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearkin import data as nd
from nearkin import fileio as atomic
from nearkin.data.arrays import parse_idx
from nearkin.data.decode import decode
from nearkin.embeddings import Embeddings
from nearkin.errors import DataError, one_line
from nearkin.train.checkpoint import load_tensors
from tests.fuzz.files import image_file, npy, npz


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bombs of 4 GiB take their time to make: let 100 kB count as large."""
    monkeypatch.setattr(atomic, "MOST_UNPACKED", 100_000)


@pytest.mark.usefixtures("small")
def test_bombs_are_refused_before_they_unpack(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(npz({"images": np.zeros((10_000, 16, 16), np.uint8)}))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 10_000, 16, 16) + bytes(2_560_000))
    )
    pq.write_table(
        pa.table({"image": pa.array([b"x"] * 300_000), "embedding": [[0.0]] * 300_000}), tmp_path / "x.parquet"
    )
    for load in (
        lambda: nd.load(str(tmp_path / "x.npz")),
        lambda: nd.load(str(tmp_path)),
        lambda: nd.load(str(tmp_path / "x.parquet")),
        lambda: Embeddings.load(tmp_path / "x.npz"),
        lambda: Embeddings.load(tmp_path / "x.parquet"),
    ):
        with pytest.raises(DataError, match="more than 200 times its size; refused"):
            load()


@pytest.mark.usefixtures("small")
def test_large_files_that_are_honest_are_no_bombs(tmp_path: Path) -> None:
    Z = np.random.default_rng(0).normal(size=(2000, 40)).astype(np.float32)
    (tmp_path / "x.npz").write_bytes(npz({"embedding": Z}))
    made = Embeddings.load(tmp_path / "x.npz")
    made.save(tmp_path / "x.parquet")
    assert np.array_equal(Embeddings.load(tmp_path / "x.parquet").Z, Z)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [12_000, 60_000, 2**31 - 1])
def test_a_png_that_claims_a_giant_size(side: int) -> None:
    with pytest.raises(ValueError, match="pixels|size|dimension") as caught:
        decode(png_header(side, side))
    assert "\n" not in str(caught.value)


def test_headers_that_promise_the_world(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="promises 4294967295 x 4294967295 x 9"):
        parse_idx(bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 9) + b"abc", "x")
    claim = npy(np.zeros((1, 1), np.float32)).replace(b"(1, 1)", b"(10**9, 10**9)".replace(b"10**9", b"9" * 9))
    for name, data in (("x.npy", claim), ("y.npy", npy(np.zeros(1)).replace(b"(1,)", b"(9" + b"9" * 18 + b",)"))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError):
            Embeddings.load(tmp_path / name)
    for header in (
        b'{"a":{"dtype":"F32","shape":[9999999999],"data_offsets":[0,39999999996]}}',
        b"[" * 5000,
        b"{}" * 9,
    ):
        for length in (len(header), 2**63, 99_999_999):
            (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + header)
            with pytest.raises(DataError, match="damaged"):
                load_tensors(tmp_path / "w.safetensors")


def test_formats_that_other_programs_would_draw_are_not_opened() -> None:
    """Pillow hands EPS to Ghostscript, whatever the file's name."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(ValueError, match="not an image"):
        decode(eps)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_devices_and_links_to_themselves_are_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for k in range(3):
        (folder / f"{k}.png").write_bytes(image_file(value=k))
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "up").symlink_to(tmp_path, target_is_directory=True)
    found = nd.load(str(folder), cache=tmp_path / "cache", progress=False)
    assert len(found.train) == 3 and [item.path for item in found.skipped] == ["loop.png", "pipe.png", "zero.png"]
    for name in ("x.parquet", "x.npy"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match="not a regular file"):
            Embeddings.load(tmp_path / name)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_names_that_are_no_utf8_and_names_with_line_ends(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/set"
    os.mkdir(folder)
    names = [b"caf\xe9.png", b"a\n<b>.png", b"\x1b[31m.png", b"plain.png"]
    for k, name in enumerate(names):
        with open(folder + b"/" + name, "wb") as file:
            file.write(image_file(value=k) if k < 3 else b"no image")
    found = nd.load(str(tmp_path / "set"), cache=tmp_path / "cache", progress=False)
    assert found.train.ids.tolist() == ["\x1b[31m.png", "a\n<b>.png", "caf\\xe9.png"] and len(found.skipped) == 1
    Embeddings(np.zeros((3, 2), np.float32), found.train.ids, None, found.train.ids).save(tmp_path / "e.parquet")
    assert Embeddings.load(tmp_path / "e.parquet").ids.tolist() == found.train.ids.tolist()


def test_messages_cannot_steer_a_terminal(tmp_path: Path) -> None:
    assert one_line("a\nb\x1b[31m\u2028c") == "a b [31m c"
    name = "x\n\x1b[31mred"
    done = subprocess.run(
        [sys.executable, "-m", "nearkin", "data", "info", f"./{name}"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "\x1b" not in done.stderr
