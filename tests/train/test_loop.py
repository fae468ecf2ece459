"""The loop: what a kill at the worst moment leaves behind."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nearkin.errors import DataError, TrainingError
from nearkin.train import TrainConfig, train
from nearkin.train.checkpoint import load_tensors
from nearkin.train.device import make_fabric
from nearkin.train.loop import trained
from nearkin.train.record import Record

CONFIG = TrainConfig(epochs=2, batch_size=4, precision="fp32", warmup_epochs=0, checkpoint_seconds=1e-9)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)


class Mean:
    """The smallest trainable: one weight."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net: nn.Module = nn.Linear(1, 1)

    def loss(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.net(images.float().mean(dim=(1, 2, 3)).div(255)[:, None]).square().mean()
        return loss, {"term": loss.detach()}

    def optimizers(self) -> list[torch.optim.Optimizer]:
        optimizer = torch.optim.Adam(self.net.parameters(), lr=0.1)
        optimizer.param_groups[0]["peak_lr"] = 0.1
        return [optimizer]

    def before_epoch(self, epoch: int) -> None:
        pass

    def after_step(self, step: int) -> None:
        pass


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in found]


def run(folder: Path, kill_at: int = 0) -> None:
    record = Record(folder / "metrics.jsonl")

    def on_eval(epoch: int, seconds: float) -> None:
        if epoch == kill_at:
            raise KeyboardInterrupt
        record.append({"kind": "epoch", "split": "val", "epoch": epoch})

    fabric = make_fabric("cpu", "fp32")
    train(Mean(), IMAGES, CONFIG, folder, seed=0, fabric=fabric, on_eval=on_eval, progress=False)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_kill_during_the_evaluation_loses_no_line(tmp_path: Path, epoch: int) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", kill_at=epoch)
    run(tmp_path / "cut")
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


class Spoilt(Mean):
    """A loss, or with ``weights`` a gradient behind a finite loss, that turns NaN at the sixth step."""

    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.weights, self.calls = weights, 0

    def loss(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss, terms = super().loss(images, rows, rng)
        self.calls += 1
        if self.calls == 6:  # the square root's slope at 0 is infinite, and infinity times 0 is no number
            loss = loss + (0 * loss).sqrt() if self.weights else loss * float("nan")
        return loss, terms


@pytest.mark.parametrize(("weights", "words"), [(False, "loss became non-finite at step 6"), (True, "weights became")])
def test_no_checkpoint_holds_what_cannot_recover(tmp_path: Path, weights: bool, words: str) -> None:
    fabric = make_fabric("cpu", "fp32")
    with pytest.raises(TrainingError, match=words):
        train(Spoilt(weights), IMAGES, CONFIG, tmp_path, seed=0, fabric=fabric, progress=False)
    tensors, meta = load_tensors(tmp_path / "checkpoint.safetensors")
    assert meta["step"] == 5 and all(bool(torch.isfinite(value).all()) for value in tensors.values())
    assert all(np.isfinite(line["loss"]) for line in lines(tmp_path) if line["kind"] == "step")
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """Training asks no wall clock: neither what it does nor the seconds that it logs depend on one."""
    for name in ("steady", "jumping"):
        (tmp_path / name).mkdir()
    run(tmp_path / "steady")
    now, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now() + jump * next(calls))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * (now() + jump * next(calls))))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "jumping", kill_at=1)
    run(tmp_path / "jumping")
    assert lines(tmp_path / "jumping") == lines(tmp_path / "steady")
    logged = [
        json.loads(line)["seconds"]
        for line in (tmp_path / "jumping" / "metrics.jsonl").read_text().splitlines()
        if "seconds" in line
    ]
    assert all(0 <= seconds < 600 for seconds in logged)


def test_a_record_shorter_than_its_checkpoint_says_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, kill_at=2)
    (tmp_path / "metrics.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="shorter than the checkpoint"):
        run(tmp_path)


def test_weights_and_a_checkpoint_side_by_side_mean_finished(tmp_path: Path) -> None:
    """As after a kill between the two last steps of training."""
    run(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    assert trained(tmp_path) and not (tmp_path / "checkpoint.safetensors").exists()
