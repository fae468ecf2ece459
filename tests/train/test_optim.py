"""LARS against its formula, Muon's orthogonalisation against an SVD, decay exclusions, the schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nearkin.errors import ConfigError
from nearkin.train.config import TrainConfig
from nearkin.train.optim import LARS, make_optimizers, orthogonalize, set_lr


def test_lars_follows_the_formula() -> None:
    w = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = LARS([w], lr=0.1, weight_decay=0.5, momentum=0.9, eta=0.02)
    expected, m = w.detach().clone(), torch.zeros(1, 2)
    for g in (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, -2.0]])):
        w.grad = g
        optimizer.step()
        d = g + 0.5 * expected
        m = 0.9 * m + 0.02 * expected.norm() / d.norm() * d
        expected = expected - 0.1 * m
        torch.testing.assert_close(w.detach(), expected)


def test_biases_and_norms_get_no_decay_and_no_adaptation() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    (optimizer,) = make_optimizers(net, TrainConfig(optimizer="lars", weight_decay=0.1))
    by_decay = {group["weight_decay"]: group for group in optimizer.param_groups}
    assert sorted(p.ndim for p in by_decay[0.1]["params"]) == [2, 4]
    assert {p.ndim for p in by_decay[0.0]["params"]} == {1}
    assert by_decay[0.0]["adapt"] is False


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 12)])
def test_muon_update_is_near_orthogonal(shape: tuple[int, int]) -> None:
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = torch.linalg.svdvals(g)
    after = torch.linalg.svdvals(orthogonalize(g))
    assert before.max() / before.min() > 2
    assert after.min() > 0.3 and after.max() < 1.3


@pytest.mark.parametrize("name", ["adam", "adamw", "lars", "muon"])
def test_every_optimizer_learns_a_regression(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    y = x @ torch.randn(5, 3)
    net = nn.Linear(5, 3)
    lr = {"lars": 5.0}.get(name, 0.02)
    optimizers = make_optimizers(net, TrainConfig(optimizer=name, lr=lr, muon_lr=0.05, weight_decay=0.0))
    first = float((net(x) - y).square().mean().detach())
    for step in range(200):
        set_lr(optimizers, 1 - step / 200)
        loss = (net(x) - y).square().mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    assert float(loss.detach()) < 0.1 * first


def test_muon_takes_kernels_and_adamw_the_rest() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    muon, adamw = make_optimizers(net, TrainConfig(optimizer="muon"))
    assert [p.ndim for group in muon.param_groups for p in group["params"]] == [4]
    assert sorted(p.ndim for group in adamw.param_groups for p in group["params"]) == [1, 1, 1, 1, 2]


def test_schedule_warms_up_then_falls_to_zero() -> None:
    config = TrainConfig(epochs=10, warmup_epochs=2)
    factors = [config.lr_factor(step, 5) for step in range(50)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == pytest.approx(1.0)
    assert all(a >= b for a, b in zip(factors[10:], factors[11:], strict=False))
    assert factors[-1] < 0.01
    assert TrainConfig(schedule="constant", warmup_epochs=0).lr_factor(49, 5) == 1.0


@pytest.mark.parametrize(
    ("epochs", "warmup_epochs", "per_epoch", "peak"),
    [(10, 0.6, 35, 70), (13, 0.6, 175, 105), (50, 0.5, 20, 100), (10, 0, 35, 0)],
    ids=["a fifth of a short run", "as asked", "100 steps of a small set", "none"],
)
def test_warmup_is_long_enough_in_steps(epochs: int, warmup_epochs: float, per_epoch: int, peak: int) -> None:
    config = TrainConfig(epochs=epochs, warmup_epochs=warmup_epochs)
    factors = [config.lr_factor(step, per_epoch) for step in range(epochs * per_epoch)]
    assert max(range(len(factors)), key=factors.__getitem__) == max(0, peak - 1)


def test_config_names_legal_values() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'adamw'"):
        TrainConfig(optimizer="adamww")
    with pytest.raises(ConfigError, match="lr is -1"):
        TrainConfig(lr=-1)
