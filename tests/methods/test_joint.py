"""What every joint-embedding method shares: held-out batches, views, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nearkin.data.imageset import ImageSet
from nearkin.errors import ConfigError, TrainingError
from nearkin.methods import FitContext, create
from nearkin.methods.vicreg import VICRegMethod
from tests.methods.test_contract import TINY, make_splits

SMALL: dict[str, Any] = {k: TINY[k] for k in ("encoder", "projector", "batch_size", "epochs", "precision")}


class Spy(VICRegMethod):
    """VICReg that remembers the mean brightness of every held-out image, batch by batch."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[list[float]] = []

    def held_out_pair(self, images: Tensor, rng: torch.Generator) -> list[Tensor]:
        self.seen.append(images.float().mean(dim=(1, 2, 3)).tolist())
        return super().held_out_pair(images, rng)


def test_test_losses_see_mixed_batches_although_the_set_is_sorted_by_class(tmp_path: Path) -> None:
    splits = make_splits()
    method = Spy(SMALL, (3, 16, 16))
    context = FitContext(splits, tmp_path, device="cpu", progress=False)
    method.fit(context)
    images = np.zeros((4000, 3, 16, 16), dtype=np.uint8)
    images[2000:] = 200  # the second class comes after the first 2,048 images
    method.seen.clear()
    test = ImageSet(images, np.arange(4000).astype(str), None, ())
    method.test_losses(replace(context, splits=replace(splits, test=test)))
    brightness = np.array(method.seen)
    assert 60 < brightness.mean() < 140  # both classes, about half each
    assert (brightness.std(axis=1) > 0).mean() > 0.9  # and in nearly every batch of 16


@pytest.mark.parametrize("name", ["barlow", "simclr", "byol", "simsiam", "wmse", "ngn-pixels"])
def test_methods_of_two_views_refuse_another_number(name: str) -> None:
    known = SMALL | ({"w_size": 16, "out_dim": 8} if name == "wmse" else {})
    assert create(name, known, (3, 16, 16)).settings["n_views"] == 2
    for n in (1, 4):
        with pytest.raises(ConfigError, match=f"n_views is {n}"):
            create(name, known | {"n_views": n}, (3, 16, 16))


def test_supervised_names_its_two_losses_differently(tmp_path: Path) -> None:
    """Held-out labels enter nowhere, so the held-out number is another one than training's and must not share its name."""
    from nearkin.train.record import MetricsLog

    create("supervised", SMALL, (3, 16, 16)).fit(FitContext(make_splits(), tmp_path, device="cpu", progress=False))
    record = MetricsLog(tmp_path / "metrics.jsonl")
    train, val = record.read(kind="epoch", split="train")[-1], record.read(kind="epoch", split="val")[-1]
    assert "cross_entropy" in train and "prediction_entropy" not in train
    assert "prediction_entropy" in val and "cross_entropy" not in val


def test_one_view_is_refused_where_more_than_two_are_legal() -> None:
    for name in ("vicreg", "lejepa"):
        assert create(name, SMALL | {"n_views": 3}, (3, 16, 16)).settings["n_views"] == 3
        with pytest.raises(ConfigError, match="n_views is 1"):
            create(name, SMALL | {"n_views": 1}, (3, 16, 16))


def test_a_collapse_is_told_once_while_it_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = iter(["healthy", "collapsing", "collapsing", "healthy"])
    monkeypatch.setattr(
        "nearkin.methods.joint.diagnose", lambda history, steps: (next(states), "Raise variance_weight.")
    )
    create("vicreg", SMALL | {"epochs": 4}, (3, 16, 16)).fit(
        FitContext(make_splits(), tmp_path, device="cpu", progress=False, title="vicreg s0")
    )
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "vicreg s0, epoch 2: collapsing. Raise variance_weight.",
        "vicreg s0, epoch 4: healthy. Raise variance_weight.",
    ]


class Overflowing(VICRegMethod):
    """Features that are no numbers, from weights that are."""

    def embed(self, images: Any, layers: Any = None) -> dict[str, Any]:
        return {name: values * np.nan for name, values in super().embed(images, layers).items()}


def test_features_that_overflow_stop_the_run_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="features became non-finite by step 3"):
        Overflowing(SMALL, (3, 16, 16)).fit(FitContext(make_splits(), tmp_path, device="cpu", progress=False))
