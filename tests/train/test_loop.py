"""The loop: what a kill at the worst moment leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nearkin.train import TrainConfig, train
from nearkin.train.device import make_fabric
from nearkin.train.record import Record
from tests.train.test_events import read

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


def run(folder: Path, kill_at: int = 0, *, tensorboard: bool = False) -> None:
    record = Record(folder / "metrics.jsonl")

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


def test_event_files_hold_what_the_record_holds_after_a_kill(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, kill_at=2, tensorboard=True)
    before = read(tmp_path)
    run(tmp_path, tensorboard=True)
    steps = [(line["step"], round(line["loss"], 5)) for line in lines(tmp_path) if line["kind"] == "step"]
    assert read(tmp_path)["step/loss"] == steps and len(before["step/loss"]) == len(steps) == 6
    assert [step for step, _ in read(tmp_path)["train/term"]] == [3, 6]
