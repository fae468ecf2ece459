"""Training from a memory-mapped store against the same images in memory: images per second and peak memory.

    python benchmarks/store.py [--images 1000000] [--steps 100] [--method vicreg] [--encoder fast]

Both sides train the same method with the same batches, each in a process of its own, in turns; the fastest turn counts.
The store is made under --folder (3 GB for a million images of 32 x 32) and kept there for the next time. Peak memory is the
process' anonymous memory (Linux' RssAnon): pages of a mapped file can be dropped, and are no need. Where the file fits in
the system's page cache, that is where the second turn reads it from.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from timing import cpu_name

from nearkin.data.store import NpyWriter

_SIDE = 32


def make_store(folder: Path, n: int) -> None:
    """Noise images, as 'nearkin data ingest' lays them out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with NpyWriter(folder / "images.npy") as writer:
        for start in range(0, n, 1000):
            for image in rng.integers(0, 256, (min(1000, n - start), 3, _SIDE, _SIDE), dtype=np.uint8):
                writer.append(image)
    table = pa.table({"id": [str(i) for i in range(n)], "label": pa.nulls(n, pa.string()), "split": ["train"] * n})
    pq.write_table(table, folder / "index.parquet")
    (folder / "store.json").write_text(
        json.dumps({"version": 1, "source": "benchmark", "skipped": [], "fingerprint": "benchmark"})
    )


def anonymous() -> float:
    """This process' anonymous memory in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1e3


def one_side(store: Path, how: str, steps: int, method: str, encoder: str) -> dict[str, float]:
    """Train some steps; return images per second after the first tenth, and the peak memory in MB."""
    import torch

    from nearkin import data as nd
    from nearkin.methods import create
    from nearkin.train.batches import Batches
    from nearkin.train.device import make_fabric
    from nearkin.train.seeding import epoch_order, generator

    peak, done = [anonymous()], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak.append(max(peak.pop(), anonymous()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    images = nd.split(nd.load(str(store))).train.images
    if how == "memory":
        images = np.array(images)
    model = create(method, {"encoder": encoder}, (3, _SIDE, _SIDE))
    model.fabric = make_fabric("auto", model.config.precision)
    device = model.fabric.device
    model.net.to(device, memory_format=torch.channels_last)
    optimizers = model.optimizers()
    batch = model.config.batch_size
    order, warm = epoch_order(len(images), 0, 0), max(1, steps // 10)
    indexes = [np.take(order, np.arange(k * batch, (k + 1) * batch), mode="wrap") for k in range(warm + steps)]
    for step, (index, made) in enumerate(zip(indexes, Batches(images, device).in_turn(indexes), strict=True)):
        if step == warm:
            started = time.perf_counter()
        rows = torch.from_numpy(index).to(device)
        loss, _ = model.loss(made, rows, generator(device, 0, "views", step))
        model.net.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    float(loss)  # waits for the device
    speed = steps * batch / (time.perf_counter() - started)
    done.set()
    watcher.join()
    return {"speed": speed, "peak": peak[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Training from a memory-mapped store against memory.")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--method", default="vicreg", help="a method of two views (default vicreg)")
    parser.add_argument("--encoder", default="fast")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "nearkin-benchmark-store")
    parser.add_argument("--side", choices=("store", "memory"), help=argparse.SUPPRESS)  # set for the sub-processes
    given = parser.parse_args()
    store = given.folder / str(given.images)
    if given.side:
        print(json.dumps(one_side(store, given.side, given.steps, given.method, given.encoder)))
        return
    if not (store / "store.json").exists():
        make_store(store, given.images)
    found: dict[str, list[dict[str, float]]] = {"store": [], "memory": []}
    for _ in range(given.turns):
        for side, turns in found.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            turns.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(f"hardware   {cpu_name()}")
    print(
        f"task       {given.images:,} images of {_SIDE} x {_SIDE}, {given.method}, {given.encoder}, {given.steps} steps"
    )
    speed = {side: max(turn["speed"] for turn in turns) for side, turns in found.items()}
    for side, turns in found.items():
        print(f"{side:<10} {speed[side]:9.0f} images/s   peak {max(turn['peak'] for turn in turns):7.0f} MB")
    print(f"ratio      {speed['store'] / speed['memory']:9.2f}")


if __name__ == "__main__":
    main()
