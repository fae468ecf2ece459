"""Constants of what images cost, and the table of docs/scale.md that follows from them.

    python benchmarks/costs.py [--data cifar10] [--preset cpu] [--device auto] [-o docs/scale.json]
    python benchmarks/costs.py --sizes -o docs/scale.json      # sizes only, no speed
    python benchmarks/costs.py --table [docs/scale.json]       # the table, from measured constants

Measured, one run: images per second of embedding and seconds per training step of VICReg in the preset (the first tenth of
the steps is not counted), floating-point operations, counted forward, for the estimate of a GPU's hours, bytes per vector of
FAISS indexes (what serialising adds per vector, so that codebooks do not count), bytes per image as uint8, PNG and WebP
(lossless). The formulas are those of cost().
"""

from __future__ import annotations

import argparse
import io
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from timing import cpu_name

from nearkin.data import load
from nearkin.study.presets import get_preset

SIZES = (10**7, 10**8, 10**9)
DEGREE, SECTOR = 64, 4096  # of a DiskANN graph; bytes read from the disk at once
CONSTANTS = Path(__file__).parents[1] / "docs" / "scale.json"
GPU_RATE = 1e14  # operations per second that the estimate assumes: a tenth of an H100's peak in bf16, 9.9e14
_VECTORS = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description="What images cost: constants, and the table that follows.")
    parser.add_argument("--table", nargs="?", type=Path, const=CONSTANTS, help="print the table of measured constants")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=int, default=10_000, help="images that are trained on and embedded")
    parser.add_argument("--dim", type=int, default=1024, help="width of the vectors with --sizes")
    parser.add_argument("--pq", type=int, default=64, help="bytes per vector of product quantisation")
    parser.add_argument("--sizes", action="store_true", help="no speed")
    parser.add_argument("-o", "--out", type=Path, help="write the constants there")
    a = parser.parse_args()
    if a.table:
        print(table(json.loads(a.table.read_text())))
        return
    images = load(a.data).train.images
    images = images[np.random.default_rng(0).permutation(len(images))[: a.images]]
    found: dict[str, Any] = {"data": Path(a.data).name, "preset": a.preset, "side": int(images.shape[-1])}
    found |= {"device": None, "embed_images_per_s": None, "step_seconds": None, "batch": None, "dim": a.dim}
    if not a.sizes:
        found |= speeds(images, a.preset, a.device) | operations(images, a.preset)
    found |= {"pq": a.pq, "image_bytes": image_bytes(images[:1000]), "vector_bytes": vector_bytes(found["dim"], a.pq)}
    text = json.dumps(found, indent=1)
    print(text)
    if a.out:
        a.out.write_text(text + "\n")


def speeds(images: NDArray[np.uint8], preset: str, device: str) -> dict[str, Any]:
    """Two epochs of VICReg, and one pass of embedding after a pass that warms up."""
    import torch

    from nearkin import VICReg
    from nearkin.runs.fit import method_settings
    from nearkin.train.device import pick_device

    chosen = get_preset(preset)
    gpu = pick_device(device) == "cuda"
    settings = method_settings("vicreg", chosen.settings | (chosen.gpu_settings if gpu else {}) | {"epochs": 2})
    with tempfile.TemporaryDirectory() as folder:
        model = VICReg(**settings, validation_fraction=0.1, random_state=0, device=device, run_dir=folder)
        model.fit(images)
        steps = [line["seconds"] for line in model.history_ if line["kind"] == "step"]
        steps = steps[max(1, len(steps) // 10) :]
        model.transform(images[:1000])
        start = time.perf_counter()
        Z = model.transform(images)
        each = (time.perf_counter() - start) / len(images)
    return {
        "device": torch.cuda.get_device_name() if gpu else f"{cpu_name()}, {torch.get_num_threads()} thread(s)",
        "embed_images_per_s": 1 / each,
        "step_seconds": (steps[-1] - steps[0]) / (len(steps) - 1),
        "batch": settings["batch_size"],
        "dim": int(Z.shape[1]),
    }


def operations(images: NDArray[np.uint8], preset: str) -> dict[str, float]:
    """Floating-point operations per image of embedding, counted by torch, and of a training step with two views, six times
    the forward pass with projector.

    A multiplication and an addition are two; only matrix products and convolutions of the net count.
    """
    from torch.utils.flop_counter import FlopCounterMode

    from nearkin import VICReg
    from nearkin.runs.fit import method_settings

    settings = method_settings("vicreg", get_preset(preset).settings | {"epochs": 1})
    some = images[: 2 * settings["batch_size"]]
    with tempfile.TemporaryDirectory() as folder:
        model = VICReg(**settings, validation_fraction=0.1, random_state=0, device="cpu", run_dir=folder).fit(some)
        counted = []
        for layer in ("backbone", "projector"):
            with FlopCounterMode(display=False) as counter:
                model.method_.embed(some, (layer,))
            counted.append(counter.get_total_flops() / len(some))
    # Backward costs twice what forward does.
    return {"embed_operations": counted[0], "train_operations": 2 * 3 * counted[1]}


def image_bytes(images: NDArray[np.uint8]) -> dict[str, float]:
    """Mean bytes of an image (N, 3, H, W) by way of storing it."""
    out = {"uint8": float(images[0].nbytes)}
    for name, options in (("PNG", {"optimize": True}), ("WebP", {"lossless": True})):
        total = 0
        for image in images.transpose(0, 2, 3, 1):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, name, **options)
            total += buffer.tell()
        out[name] = total / len(images)
    return out


def vector_bytes(dim: int, pq: int) -> dict[str, float]:
    """Bytes that one more vector adds to a serialised FAISS index."""
    Z = np.random.default_rng(0).standard_normal((_VECTORS, dim), dtype=np.float32)
    out = {}
    coded = faiss.IndexIVFPQ(faiss.IndexFlatL2(dim), dim, 16, pq, 8)
    coded.pq.cp.niter = coded.cp.niter = 1  # the size does not depend on how good the codes are
    coded.pq.cp.min_points_per_centroid = coded.cp.min_points_per_centroid = 1  # so no warnings about it
    kinds = {
        "flat": faiss.IndexFlatL2(dim),
        "HNSW": faiss.IndexHNSWFlat(dim, 32),
        "IVF-PQ": coded,
    }
    for name, index in kinds.items():
        index.train(Z[:1000])
        half = _VECTORS // 2
        index.add(Z[:half])
        before = len(faiss.serialize_index(index))
        index.add(Z[half:])
        out[name] = (len(faiss.serialize_index(index)) - before) / half
    return out


def cost(n: int, c: dict[str, Any]) -> dict[str, float | None]:
    """What n images cost, from constants c. Hours of the device measured, and of a GPU by estimate; bytes.

    training, one epoch = n step_seconds / batch / 3600        embedding = n / embed_images_per_s / 3600
    on a GPU = n train_operations / GPU_RATE / 3600 and n embed_operations / GPU_RATE / 3600
    images = n image_bytes        vectors = 4 n dim        flat and HNSW = n vector_bytes
    IVF-PQ = n vector_bytes + 4 dim (lists + 256), lists = 4 sqrt(n): centroids of the lists, and codebooks
    DiskANN, memory = n pq: one code per vector        DiskANN, disk: a node of 4 dim + 4 + 4 DEGREE bytes (vector, number
    of neighbours, neighbours) does not cross a sector of 4096 bytes if it fits into one, else it begins a new one
    """
    dim = c["dim"]
    node = 4 * dim + 4 + 4 * DEGREE
    disk = SECTOR / (SECTOR // node) if node <= SECTOR else SECTOR * math.ceil(node / SECTOR)
    measured = c["step_seconds"] is not None
    return {
        "training, one epoch": n * c["step_seconds"] / c["batch"] / 3600 if measured else None,
        "embedding": n / c["embed_images_per_s"] / 3600 if measured else None,
        **{
            f"{kind}, on a GPU (estimate)": n * c[name] / GPU_RATE / 3600 if name in c else None
            for kind, name in (("training, one epoch", "train_operations"), ("embedding", "embed_operations"))
        },
        **{f"images, {name}": n * size for name, size in c["image_bytes"].items()},
        "vectors, float32": 4.0 * n * dim,
        "index, flat": n * c["vector_bytes"]["flat"],
        "index, HNSW": n * c["vector_bytes"]["HNSW"],
        "index, IVF-PQ": n * c["vector_bytes"]["IVF-PQ"] + 4 * dim * (4 * math.sqrt(n) + 256),
        "DiskANN, memory": float(n * c["pq"]),
        "DiskANN, disk": n * disk,
    }


def table(c: dict[str, Any]) -> str:
    """Markdown: one row per kind of cost, one column per number of images."""
    columns = [cost(n, c) for n in SIZES]
    lines = ["| | " + " | ".join(f"{n // 10**6:,} M" for n in SIZES) + " |", "|---" * (len(SIZES) + 1) + "|"]
    for name in columns[0]:
        hours = name.startswith(("training", "embedding"))
        cells = [_shown(column[name], hours) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(value: float | None, hours: bool) -> str:
    if value is None:
        return "not measured"
    if hours:
        return f"{value:,.3g} h" if value < 100 else f"{value:,.0f} h"
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if value >= size:
            return f"{value / size:,.3g} {unit}" if value < 1000 * size else f"{value / size:,.0f} {unit}"
    return f"{value:,.0f} B"


if __name__ == "__main__":
    main()
