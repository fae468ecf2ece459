"""Several ranks train the net that one process would train on the same batches, and a killed rank loses nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from nearkin.errors import ConfigError
from nearkin.folders import CHECKPOINT, WEIGHTS
from nearkin.methods.gather import gather
from nearkin.methods.neighborhood import shared_features, train_neighbors
from nearkin.methods.vicreg import vicreg_terms
from nearkin.train import ranks
from nearkin.train.checkpoint import load_tensors
from nearkin.train.config import TrainConfig
from nearkin.train.device import make_fabric
from nearkin.train.loop import train
from nearkin.train.ranks import globalise

IMAGES = np.random.default_rng(0).integers(0, 256, (32, 3, 4, 4), dtype=np.uint8)
CONFIG = TrainConfig(batch_size=12, epochs=3, optimizer="adamw", lr=1e-2, keep=0, precision="fp32")


class Linear:
    """VICReg on a net without BatchNorm, in float64; the second view is the image turned upside down."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.Tanh(), nn.Linear(6, 4)).double()

    def loss(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        x = images.double() / 255
        s, v, c = vicreg_terms(gather(self.net(x)), gather(self.net(x.flip(2))))
        return 25 * s + 25 * v + c, {"variance": v.detach()}

    def optimizers(self) -> list[torch.optim.Optimizer]:
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=CONFIG.lr)
        optimizer.param_groups[0]["peak_lr"] = CONFIG.lr
        return [optimizer]

    def before_epoch(self, epoch: int) -> None:
        pass

    def after_step(self, step: int) -> None:
        pass


def run(folder: Path, trainable: Linear | None = None, config: TrainConfig = CONFIG) -> None:
    folder.mkdir(exist_ok=True)
    fabric = make_fabric("cpu", "fp32")
    train(trainable or Linear(), IMAGES, config, folder, seed=0, fabric=fabric, progress=False)


def joined_by(rank: int, world: int, port: int) -> AbstractContextManager[None]:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return ranks.group("cpu")


def worker(rank: int, world: int, port: int, folder: str) -> None:
    with joined_by(rank, world, port):
        run(Path(folder))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_train_what_one_process_trains(tmp_path: Path, world: int) -> None:
    run(tmp_path / "one")
    mp.spawn(worker, args=(world, free_port(), str(tmp_path / "many")), nprocs=world)
    one, many = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("one", "many"))
    for name in one:
        torch.testing.assert_close(many[name], one[name], atol=1e-8, rtol=0)
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("one", "many")]
    a, b = ([json.loads(line) for line in text] for text in lines)
    assert [line["kind"] for line in a] == [line["kind"] for line in b]
    assert b[-1]["loss"] == pytest.approx(a[-1]["loss"], abs=1e-8)


class Normed(Linear):
    """The same with BatchNorm after a convolution and after a linear layer; the views pass one after the other."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Tanh(), nn.Flatten(), nn.Linear(20, 6), nn.BatchNorm1d(6), nn.Tanh(),
            nn.Linear(6, 4),
        ).double()  # fmt: skip


def normed_worker(rank: int, world: int, port: int, folder: str) -> None:
    with joined_by(rank, world, port):
        run(Path(folder), Normed(), dataclasses.replace(CONFIG, sync_batchnorm=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("world", [2, 4])
def test_synchronised_batchnorm_trains_what_one_process_trains(tmp_path: Path, world: int) -> None:
    run(tmp_path / "one", Normed())
    mp.spawn(normed_worker, args=(world, free_port(), str(tmp_path / "many")), nprocs=world)
    one, many = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("one", "many"))
    assert "1.running_var" in one and one.keys() == many.keys()
    for name in one:
        torch.testing.assert_close(many[name], one[name], atol=1e-8, rtol=0)


def test_one_process_keeps_its_batchnorm(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(BatchNormAct2d(3))
    globalise(net, torch.device("cpu"))
    assert type(net[0]) is BatchNormAct2d
    monkeypatch.setattr(ranks, "joined", lambda: True)
    with pytest.raises(ConfigError, match="sync_batchnorm cannot convert BatchNormAct2d on a CPU"):
        globalise(net, torch.device("cpu"))


def shared_worker(rank: int, world: int, port: int, folder: str) -> None:
    with joined_by(rank, world, port):
        seen: list[int] = []

        def features(images: np.ndarray) -> np.ndarray:
            seen.append(len(images))
            return images.reshape(len(images), -1).astype(np.float32)

        found = shared_features(features, IMAGES[:31])
        near = train_neighbors(found, 3, "l2")
        stored = ranks.from_lead(["rank", rank])
        np.savez(Path(folder) / f"{rank}.npz", found=found, near=near, seen=seen, stored=stored[1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_features_and_neighbours(tmp_path: Path, world: int) -> None:
    mp.spawn(shared_worker, args=(world, free_port(), str(tmp_path)), nprocs=world)
    Z = IMAGES[:31].reshape(31, -1).astype(np.float32)
    near = train_neighbors(Z, 3, "l2")
    parts = [np.load(tmp_path / f"{rank}.npz") for rank in range(world)]
    assert sum(int(part["seen"].sum()) for part in parts) == 31 and all(part["seen"].max() <= 16 for part in parts)
    for part in parts:
        assert np.array_equal(part["found"], Z) and np.array_equal(part["near"], near) and part["stored"] == 0


def test_a_batch_needs_equal_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks.part(12) == slice(0, 12)
    monkeypatch.setattr(ranks, "world", lambda: 5)
    with pytest.raises(ConfigError, match="batch_size 12 cannot be shared by 5 ranks; use a multiple of 5"):
        ranks.part(12)


def test_codes_train_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "joined", lambda: True)
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ConfigError, match="code per image train in one process"):
        ranks.average_gradients(table.parameters())


FIT = ["fit", "set.npz", "-o", "out", "--preset", "quick", "--epochs", "100", "-q"]
FIT += [
    "--set",
    "projector=16,16",
    "--set",
    "batch_size=16",
    "--set",
    "checkpoint_seconds=0.01",
    "--set",
    "eval_every=50",
]


def start_and_kill(folder: Path, *options: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Two ranks under torchrun, of which one is killed after the first checkpoint."""
    images = np.random.default_rng(0).integers(0, 256, (80, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "set.npz", images=images)
    env = os.environ | {"NEARKIN_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    launch += ["-m", "nearkin"]
    process = subprocess.Popen([*launch, *FIT], cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 180
    while not (folder / "out" / CHECKPOINT).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    os.kill(int(children[1]), signal.SIGKILL)
    return process, env


def steps_of(folder: Path) -> list[int]:
    lines = (folder / "out" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines if '"step"' in line]


@pytest.mark.slow
def test_a_killed_rank_leaves_a_checkpoint_that_one_process_continues(tmp_path: Path) -> None:
    assert not dist.is_initialized()
    process, env = start_and_kill(tmp_path)
    assert process.wait(timeout=120) != 0
    assert process.stderr is not None
    process.stderr.close()
    step = load_tensors(tmp_path / "out" / CHECKPOINT)[1]["step"]
    assert 0 < step < 100 * 4
    done = subprocess.run(
        [sys.executable, "-m", "nearkin", *FIT], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert steps_of(tmp_path) == list(range(1, 100 * 4 + 1))


@pytest.mark.slow
def test_torchrun_restarts_a_job_with_a_killed_rank(tmp_path: Path) -> None:
    process, _ = start_and_kill(tmp_path, "--max-restarts", "1")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert (tmp_path / "out" / WEIGHTS).exists() and steps_of(tmp_path) == list(range(1, 100 * 4 + 1))
