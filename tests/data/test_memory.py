"""A set larger than the memory that its training and embedding may use, in processes of their own.

What counts is anonymous memory (Linux' RssAnon): pages of a mapped file can be dropped at any time, and the system does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from nearkin.data.store import NpyWriter
from nearkin.train.checkpoint import load_tensors

N, SIDE = 200_000, 32
MEGABYTES = N * 3 * SIDE * SIDE / 1e6  # 614
ALLOWED = MEGABYTES / 2
SCRIPT = """
import sys, threading, time
from pathlib import Path
import numpy as np, torch
from torch import nn
from nearkin import data as nd
from nearkin.runs.bulk import Job, Source, Work, embed_parts, parts_of
from nearkin.train.config import TrainConfig
from nearkin.train.loop import train
from nearkin.train.device import make_fabric

def anonymous():
    line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1e3

class Mean:
    def __init__(self):
        torch.manual_seed(0)
        self.net = nn.Linear(1, 1)
    def loss(self, images, rows, rng):
        loss = self.net(images.float().mean(dim=(1, 2, 3)).div(255)[:, None]).square().mean()
        return loss, {}
    def optimizers(self):
        optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
        optimizer.param_groups[0]["peak_lr"] = 0.1
        return [optimizer]
    def before_epoch(self, epoch): pass
    def after_step(self, step): pass

store, out, how = sys.argv[1:]
Path(out).mkdir()
fabric = make_fabric("cpu", "fp32")
before = peak = anonymous()
done = False
def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.002)
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
splits = nd.split(nd.load(store))
images = np.array(splits.train.images) if how == "memory" else splits.train.images
config = TrainConfig(epochs=1, batch_size=2000, precision="fp32", warmup_epochs=0)
train(Mean(), images, config, Path(out), seed=0, fabric=fabric, progress=False)
if how == "store":
    del splits, images  # another command's memory
    embed = lambda images: images.mean(axis=(2, 3), dtype=np.float32)
    source = Source(store, None, 32, False, None, False)
    work = Work(Path(out), Path(out) / "vectors", "mean", 32, {}, False)
    print(embed_parts(Job(work, progress=False), parts_of(source), embed).rows)
done = True
watcher.join()
print(peak - before)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of mostly equal images, as 'nearkin data ingest' leaves one."""
    folder = tmp_path_factory.mktemp("large") / "store"
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    with NpyWriter(folder / "images.npy") as writer:
        for i in range(N):
            writer.append(image if i % 1000 else image // 2)
    table = pa.table({"id": [str(i) for i in range(N)], "label": [None] * N, "split": ["train"] * N})
    pq.write_table(table.set_column(1, "label", table["label"].cast(pa.string())), folder / "index.parquet")
    (folder / "store.json").write_text(json.dumps({"version": 1, "source": "x", "skipped": [], "fingerprint": "x"}))
    return folder


def run(store: Path, out: Path, how: str) -> tuple[list[str], dict[str, Tensor]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(store), str(out), how], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), load_tensors(out / "weights.safetensors")[0]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux' /proc")
def test_training_and_embedding_do_not_load_the_set(store: Path, tmp_path: Path) -> None:
    printed, weights = run(store, tmp_path / "a", "store")
    assert int(printed[0]) == N and float(printed[1]) < ALLOWED
    control, same = run(store, tmp_path / "b", "memory")
    assert float(control[0]) > 0.8 * MEGABYTES  # the measure would have seen it
    assert all(torch.equal(weights[name], same[name]) for name in weights)
