"""Checkpoints round-trip exactly, are never half-written, and say what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nearkin.errors import DataError, OutputError
from nearkin.train.checkpoint import load_tensors, optimizer_tensors, restore_optimizers, save_tensors


def test_tensors_and_meta_round_trip(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(2, 3), "b": torch.tensor(7)}
    save_tensors(tmp_path / "sub" / "x.safetensors", tensors, {"step": 3})
    got, meta = load_tensors(tmp_path / "sub" / "x.safetensors")
    assert meta == {"step": 3}
    assert all(torch.equal(got[k], tensors[k]) for k in tensors)
    assert not list(tmp_path.rglob("*.tmp"))


def test_restored_optimizer_continues_bitwise(tmp_path: Path) -> None:
    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net, torch.optim.AdamW(net.parameters(), lr=0.01)

    def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()

    net, optimizer = make()
    for seed in range(3):
        step(net, optimizer, seed)
    save_tensors(tmp_path / "c.safetensors", net.state_dict() | optimizer_tensors([optimizer]), {})
    step(net, optimizer, 3)

    other, fresh = make()
    tensors, _ = load_tensors(tmp_path / "c.safetensors")
    other.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("optimizer.")})
    restore_optimizers([fresh], tensors)
    step(other, fresh, 3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="damaged"):
        load_tensors(tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="no weights"):
        load_tensors(tmp_path / "y.safetensors")


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        save_tensors(tmp_path / "file" / "x.safetensors", {"a": torch.zeros(1)}, {})


def test_an_interrupted_write_leaves_only_our_own_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*paths: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nearkin.fileio.put_in_place", killed)
    with pytest.raises(KeyboardInterrupt):
        save_tensors(tmp_path / "w.safetensors", {"a": torch.zeros(3)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors.tmp"]
