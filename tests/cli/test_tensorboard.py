"""--tensorboard on the command line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.cli.inprocess import invoke
from tests.runs.conftest import image_set
from tests.train.test_record import read

SMALL = ["--epochs", "1", "--set", "encoder=fast-mini", "--set", "projector=8,8", "--set", "batch_size=16", "-q"]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "cache"))
    return str(image_set(tmp_path / "set.npz"))


def test_a_missing_package_is_told_before_anything_is_done(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for command in ("fit", "study"):
        told = invoke(command, images, "-o", str(tmp_path / "out"), "--tensorboard", code=2)
        assert "pip install 'nearkin[tensorboard]'" in told
    assert not (tmp_path / "out").exists()


def test_fit(images: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    command = ["fit", images, "-o", str(tmp_path / "run"), *SMALL]
    invoke(*command)
    assert not list((tmp_path / "run").glob("events*"))
    invoke(*command, "--tensorboard")  # of a run that is finished
    assert {"step/loss", "train/loss", "val/loss", "val/knn"} <= set(read(tmp_path / "run"))


@pytest.mark.slow
def test_study(images: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    invoke("study", images, "-o", str(tmp_path / "out"), "--methods", "vicreg,pca", *SMALL, "--tensorboard")
    assert {"step/loss", "val/loss", "test/loss"} <= set(read(tmp_path / "out" / "runs" / "vicreg-s0"))
    assert not list((tmp_path / "out" / "runs" / "pca-s0").glob("events*"))
