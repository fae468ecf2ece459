"""Every loader of foreign files, with the hostile files made for it. Shared by the test and by benchmarks/fuzz.py."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nearkin import data as nd
from nearkin.data.folder import read_images
from nearkin.data.labels import read_labels
from nearkin.data.shards import list_shards, read_shard
from nearkin.data.store import ingest, open_store
from nearkin.embeddings import PARTS, Embeddings
from nearkin.errors import NearkinError
from nearkin.explore.columns import table_columns
from nearkin.explore.computed import stored_maps
from nearkin.explore.pictures import open_pictures
from nearkin.explore.spaces import Space, find_spaces
from nearkin.folders import StudyFolder
from nearkin.report import build
from nearkin.runs.check import examine, summarize_run
from nearkin.runs.run import Run
from nearkin.train.record import MetricsLog
from tests.data.conftest import tar_files, write_tar
from tests.fuzz import files
from tests.fuzz.files import Bytes

SHAPE = (3, 16, 16)
SETTINGS = {"encoder": "fast-tiny", "projector": [8, 8], "batch_size": 16}


@dataclass(frozen=True)
class Loader:
    """``data`` is written to ``file`` in a folder of its own (beside a run, if ``beside_run``), then ``load`` gets it."""

    file: str
    data: Bytes
    load: Callable[[Path], object]
    beside_run: bool = False

    def survives(self, data: bytes) -> None:
        """Load; anything but a success or a NearkinError comes through."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "runs" / "x"
            if self.beside_run:
                shutil.copytree(a_run(), folder)
            (folder / self.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / self.file).write_bytes(data)
            try:
                self.load(folder)
            except NearkinError as error:
                assert str(error)


@functools.cache
def a_run() -> Path:
    """A run folder with random weights, vectors, maps and metrics."""
    from nearkin.fileio import write_json, write_npz
    from nearkin.methods import create
    from nearkin.train.checkpoint import save_tensors

    folder = Path(tempfile.mkdtemp(prefix="nearkin-fuzz-"))
    model = create("vicreg", SETTINGS, SHAPE)
    save_tensors(folder / "weights.safetensors", model.net.state_dict(), {"epochs": 1})
    write_json(folder / "config.json", {"method": "vicreg", "seed": 0, "settings": SETTINGS, "image_size": 16})
    write_json(folder / "evaluation.json", {"primary_layer": "backbone", "layers": {"backbone": {"maps": {}}}})
    write_npz(folder / "maps.npz", _maps())
    some().save(folder / "embeddings" / "backbone.parquet")
    MetricsLog(folder / "metrics.jsonl").append(
        {"kind": "step", "step": 1}, {"kind": "epoch", "epoch": 1, "split": "val"}
    )
    return folder


def some() -> Embeddings:
    """Three vectors."""
    Z = np.arange(6, dtype=np.float32).reshape(3, 2)
    return Embeddings(Z, np.array(["a", "b", "c"]), np.array([0, 1, -1]), np.array(["test"] * 3), ("x", "y"))


def _maps() -> dict[str, np.ndarray]:
    return {"backbone/ids": some().ids, "backbone/tsne": np.zeros((3, 2), np.float32), "backbone/labels": np.zeros(3)}


def _quiet(folder: Path, name: str) -> object:
    return nd.load(str(folder / name), cache=folder / "cache", progress=False)


def _run_file(name: str) -> bytes:
    return (a_run() / name).read_bytes()


def _as_json(value: object) -> Bytes:
    return files.like(value).map(lambda made: json.dumps(made).encode())


def _idx(*sizes: int) -> bytes:
    body = np.arange(np.prod(sizes), dtype=np.uint64).astype(np.uint8).tobytes()
    return bytes([0, 0, 8, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes) + body


def _space(folder: Path) -> Space:
    return Space("x", "x", some(), folder / "embeddings" / "backbone.parquet", Run(folder))


@functools.cache
def a_store() -> Path:
    """Three images of a tar shard, decoded."""
    folder = Path(tempfile.mkdtemp(prefix="nearkin-fuzz-"))
    write_tar(folder / "x.tar", tar_files([0, 1, 2]))
    ingest(str(folder / "x.tar"), folder / "store", size=16, progress=False)
    return folder / "store"


def _tar() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        return write_tar(Path(name) / "x.tar", tar_files([0, 1, 2])).read_bytes()


def _in_a_store(name: str, data: Bytes) -> Loader:
    """One file of a store, the others whole."""

    def load(folder: Path) -> None:
        for other in a_store().iterdir():
            if other.name != name:
                shutil.copy(other, folder)
        found = open_store(folder)
        np.asarray(found.train.images[: len(found.train)])

    return Loader(name, data, load)


def _read_shards(folder: Path, name: str) -> None:
    for shard in list_shards(str(folder / name)):
        for _ in read_shard(shard, 16, lambda item: None):
            pass


@functools.cache
def loaders() -> dict[str, Loader]:
    """By name. Built when first asked for: the originals are real files."""
    images = tuple(files.image_file(kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"))
    zips = (files._zip([("a.png", images[0], 8), ("b/c.jpg", images[1], 0), ("b/d.png", images[0], 14)]),)
    arrays = {"images": np.zeros((3, 8, 8), np.uint8), "labels": np.arange(3)}
    image_names = ("images", "x", "labels", "y", "x_train", "y_train", "x_test", "y_test")
    vector_names = ("embedding", "id", "ids", "split", "label", "labels")
    vectors = {"embedding": some().Z, "id": some().ids, "label": np.array(["x", "y", ""])}
    table_names = ("image", "embedding", "id", "path", "label", "split", "x", "y", "other")
    cells = files._columns()
    image_table = files.parquet([("image", cells[6]), ("label", cells[0])], {b"huggingface": b"{}"})
    label_table = files.parquet([("path", cells[2]), ("label", cells[2])])
    config = {"method": "vicreg", "seed": 0, "settings": SETTINGS, "image_size": 16}
    csv = b'path,label,split\na.png,cat,train\n"b\n.png",,test\n'
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "category_id": 2}],
        "categories": [{"id": 2, "name": "cat"}],
    }
    results = {"title": "x", "data": {"name": "x"}, "runs": [], "table": [], "verdict": [], "protocol": []}
    change, any_vectors = files.changed, files.any_parquet(table_names, b"nearkin")
    made = {
        "image file": Loader("a.png", change(images), lambda f: read_images([f])),
        "folder of images": Loader("s/a.png", change(images), lambda f: _quiet(f, "s")),
        "zip": Loader("x.zip", change(zips) | files.any_zip(images[0]), lambda f: _quiet(f, "x.zip")),
        "npz": Loader(
            "x.npz",
            change((files.npz(arrays), files.npz(arrays, packed=False))) | files.any_npz(image_names),
            lambda f: _quiet(f, "x.npz"),
        ),
        "image parquet": Loader(
            "x.parquet",
            change((image_table,)) | files.any_parquet(table_names, b"huggingface"),
            lambda f: _quiet(f, "x.parquet"),
        ),
        "idx": Loader("train-images-idx3-ubyte", change((_idx(3, 4, 4),)) | files.any_idx(), lambda f: _quiet(f, "")),
        "idx gz": Loader(
            "train-images-idx3-ubyte.gz",
            change((gzip.compress(_idx(3, 4, 4)),)) | files.any_idx().map(gzip.compress),
            lambda f: _quiet(f, ""),
        ),
        "labels csv": Loader("x.csv", change((csv,)), lambda f: read_labels(f / "x.csv")),
        "labels parquet": Loader(
            "x.parquet",
            change((label_table,)) | files.any_parquet(table_names, b"x"),
            lambda f: read_labels(f / "x.parquet"),
        ),
        "labels coco": Loader("x.json", _as_json(coco), lambda f: read_labels(f / "x.json")),
        "labels json lines": Loader(
            "x.jsonl",
            files.like({"file_name": "a.png", "label": 1}).map(lambda row: f"{json.dumps(row)}\n".encode() * 2),
            lambda f: read_labels(f / "x.jsonl"),
        ),
        "vectors npy": Loader(
            "x.npy", change((files.npy(some().Z),)) | files.any_npy(), lambda f: Embeddings.load(f / "x.npy")
        ),
        "vectors npz": Loader(
            "x.npz", change((files.npz(vectors),)) | files.any_npz(vector_names), lambda f: Embeddings.load(f / "x.npz")
        ),
        "vectors parquet": Loader(
            "x.parquet",
            change((_run_file("embeddings/backbone.parquet"),)) | any_vectors,
            lambda f: Embeddings.load(f / "x.parquet"),
        ),
        "explorer table": Loader(
            "x.parquet", any_vectors, lambda f: table_columns(f / "x.parquet", some().ids, lambda _: None)
        ),
        "explorer maps": Loader(
            "maps.npz",
            change((_run_file("maps.npz"),)) | files.any_npz(tuple(_maps())),
            lambda f: stored_maps(_space(f)),
            beside_run=True,
        ),
        "explorer evaluation": Loader(
            "evaluation.json",
            _as_json(
                {
                    "primary_layer": "backbone",
                    "layers": {"backbone": {"maps": {"tsne": {"skipped": None}}}},
                    "title": "x",
                }
            ),
            lambda f: (find_spaces([f]), stored_maps(_space(f))),
            beside_run=True,
        ),
        "explorer thumbnails": Loader(
            "thumbnails.npz",
            files.any_npz(("ids", "images")),
            lambda f: open_pictures(some().ids, None, StudyFolder(f), lambda _: None),
        ),
        "run config": Loader("config.json", _as_json(config), lambda f: _open(f), beside_run=True),
        "run weights": Loader(
            "weights.safetensors",
            change((_run_file("weights.safetensors"),)) | files.any_safetensors(("projector.0.bias",)),
            lambda f: _open(f),
            beside_run=True,
        ),
        "run metrics": Loader(
            "metrics.jsonl",
            change((_run_file("metrics.jsonl"),)) | files.JSONS.map(lambda value: json.dumps(value).encode() + b"\n"),
            lambda f: (summarize_run(f), MetricsLog(f / "metrics.jsonl").read(kind="step")),
            beside_run=True,
        ),
        "tar shard": Loader("x.tar", change((_tar(),)), lambda f: _read_shards(f, "x.tar")),
        "tar.gz shard": Loader("x.tar.gz", change((_tar(),)).map(gzip.compress), lambda f: _read_shards(f, "x.tar.gz")),
        "parquet shard": Loader(
            "x.parquet",
            change((image_table,)) | files.any_parquet(table_names, b"huggingface"),
            lambda f: _read_shards(f, "*.parquet"),
        ),
        "store index": _in_a_store(
            "index.parquet",
            change(((a_store() / "index.parquet").read_bytes(),)) | files.any_parquet(table_names, b"x"),
        ),
        "store images": _in_a_store("images.npy", change(((a_store() / "images.npy").read_bytes(),)) | files.any_npy()),
        "store description": _in_a_store("store.json", _as_json(json.loads((a_store() / "store.json").read_text()))),
        "list of parts": Loader(
            PARTS,
            _as_json({"provenance": {}, "parts": ["x"]}),
            lambda f: (some().save(f / "x.parquet"), Embeddings.load(f)),
        ),
        "results": Loader("results.json", _as_json(results), lambda f: build(f)),
    }
    return made


def _open(folder: Path) -> None:
    with contextlib.suppress(NearkinError):
        examine(folder)
    Run(folder).open(device="cpu")
