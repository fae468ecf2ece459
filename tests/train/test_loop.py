"""The loop: what a kill or a diverging loss at the worst moment leaves behind, the rates it logs, its progress bar."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nearkin.errors import DataError, TrainingError
from nearkin.folders import CHECKPOINT, WEIGHTS
from nearkin.train.checkpoint import load_tensors
from nearkin.train.config import TrainConfig
from nearkin.train.device import make_fabric
from nearkin.train.loop import step_bar, train, trained
from nearkin.train.record import MetricsLog
from tests.train.test_record import read

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
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_s")} for line in found]


def run(folder: Path, kill_at: int = 0, *, tensorboard: bool = False) -> None:
    record = MetricsLog(folder / "metrics.jsonl")

    def on_eval(epoch: int, seconds: float) -> None:
        if epoch == kill_at:
            raise KeyboardInterrupt
        record.append({"kind": "epoch", "split": "val", "epoch": epoch})

    fabric = make_fabric("cpu", "fp32")
    options = {"seed": 0, "fabric": fabric, "on_eval": on_eval, "progress": False}
    train(Mean(), IMAGES, CONFIG, folder, **options, tensorboard=tensorboard)  # type: ignore[arg-type]


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_kill_during_the_evaluation_loses_no_line(tmp_path: Path, epoch: int) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", kill_at=epoch)
    run(tmp_path / "cut")
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


class Diverging(Mean):
    """Its loss, or else its weights alone, become NaN at one step of the second epoch."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.steps = what, 0

    def loss(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.steps += 1
        loss, terms = super().loss(images, rows, rng)
        return (loss * float("nan") if self.what == "loss" and self.steps == 5 else loss), terms

    def after_step(self, step: int) -> None:
        if self.what == "weights" and self.steps == 5:
            with torch.no_grad():
                self.net.get_parameter("weight").fill_(float("inf"))


@pytest.mark.parametrize("what", ["loss", "weights"])
def test_divergence_names_its_step_and_leaves_a_checkpoint_to_continue_from(tmp_path: Path, what: str) -> None:
    """Per epoch 3 steps, and a checkpoint after each: the fifth step is the second of epoch 2."""
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    run(tmp_path / "whole")
    fabric = make_fabric("cpu", "fp32")
    with pytest.raises(TrainingError, match=f"{what} became non-finite at step 5; the last good checkpoint is kept"):
        train(Diverging(what), IMAGES, CONFIG, tmp_path / "cut", seed=0, fabric=fabric, progress=False)
    tensors, meta = load_tensors(tmp_path / "cut" / CHECKPOINT)
    assert meta["step"] == 4 and all(t.isfinite().all() for t in tensors.values())
    assert "NaN" not in (tmp_path / "cut" / "metrics.jsonl").read_text()
    run(tmp_path / "cut")
    whole, cut = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_divergence_in_the_first_epoch_promises_no_checkpoint(tmp_path: Path) -> None:
    trainable = Diverging("loss")
    trainable.steps = 4
    with pytest.raises(TrainingError, match="at step 1; no checkpoint was saved before"):
        train(trainable, IMAGES, CONFIG, tmp_path, seed=0, fabric=make_fabric("cpu", "fp32"), progress=False)


def test_an_epochs_rate_counts_images_over_its_own_seconds(tmp_path: Path) -> None:
    run(tmp_path)
    epochs = MetricsLog(tmp_path / "metrics.jsonl").read(kind="epoch", split="train")
    before = 0.0
    for line in epochs:
        assert line["images_per_s"] == pytest.approx(12 / (line["seconds"] - before), rel=0.01)
        before = line["seconds"]


def test_event_files_hold_what_the_record_holds_after_a_kill(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, kill_at=2, tensorboard=True)
    before = read(tmp_path)
    run(tmp_path, tensorboard=True)
    steps = [(line["step"], round(line["loss"], 5)) for line in lines(tmp_path) if line["kind"] == "step"]
    assert read(tmp_path)["step/loss"] == steps and len(before["step/loss"]) == len(steps) == 6
    assert [step for step, _ in read(tmp_path)["train/term"]] == [3, 6]


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


def test_steps_loss_and_time_left_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with step_bar("vicreg s0", 10, 4, images=32) as update:
        update(7, 0.25)
    out, err = capsys.readouterr()
    assert out == "" and "vicreg s0" in err
    assert re.search(r"7/10 loss 0\.250 (-|\d+) images/s \d:\d\d:\d\d left (\d|-):(\d|-)", err)


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with step_bar("vicreg s0", 10, 0, images=32, enabled=False) as update:
        update(1, 1.0)
    assert capsys.readouterr() == ("", "")
