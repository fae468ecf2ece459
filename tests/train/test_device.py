"""Compiled training: the same steps up to rounding, bit by bit the same when run again, and one line where nothing can be compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nearkin.augment import views as pipeline
from nearkin.data import load, split
from nearkin.errors import ConfigError
from nearkin.methods import FitContext
from nearkin.methods.vicreg import VICRegMethod
from nearkin.train.checkpoint import load_tensors
from nearkin.train.device import compile_net
from nearkin.train.record import MetricsLog

SETTINGS = {
    "encoder": "fast-mini",
    "projector": (64, 64),
    "recipe": "simple",
    "batch_size": 128,
    "precision": "fp32",
    "keep": 0,
}


def trained(folder: Path, **settings: Any) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    """The lines of the steps and the weights after two epochs of 512 images."""
    splits = split(load("shapes", progress=False), subset=512)
    method = VICRegMethod(SETTINGS | {"epochs": 2} | settings, (3, 32, 32))
    method.fit(FitContext(splits, folder, device="cpu", progress=False))
    return MetricsLog(folder / "metrics.jsonl").read(kind="step"), load_tensors(folder / "weights.safetensors")[0]


def test_views_and_net_are_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def pretend(function: Any, **options: Any) -> Any:
        seen.append(f"{getattr(function, '__name__', function)}")
        return function

    monkeypatch.setattr(torch, "compile", pretend)
    monkeypatch.setattr(nn.Module, "compile", lambda net, **options: seen.append(type(net).__name__))
    pipeline._compiled.cache_clear()
    trained(tmp_path / "with", compile=True)
    pipeline._compiled.cache_clear()
    assert seen == ["neg", "JointNet", "_augment"]
    seen.clear()
    trained(tmp_path / "without")
    assert not seen


def test_no_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(function: Any, **options: Any) -> Any:
        raise RuntimeError("no g++\nlong trace")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(
        ConfigError, match=r"compile=true failed \(.*no g\+\+.*\). On a CPU it needs a C\+\+ compiler"
    ) as error:
        compile_net(nn.Linear(1, 1), "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_compiled_training_differs_by_rounding(tmp_path: Path) -> None:
    plain, compiled = trained(tmp_path / "plain"), trained(tmp_path / "compiled", compile=True)
    assert compiled[1].keys() == plain[1].keys()
    losses = np.array([[line["loss"] for line in lines] for lines, _ in (plain, compiled)])
    assert losses.shape == (2, 6) and np.allclose(losses[0, :2], losses[1, :2], rtol=1e-4)
    assert np.allclose(losses[0], losses[1], rtol=1e-2)  # Muon's bf16 products enlarge what rounding began
    assert not np.array_equal(losses[0], losses[1])  # it is other code
    again = trained(tmp_path / "again", compile=True)
    assert all(torch.equal(again[1][name], value) for name, value in compiled[1].items())
