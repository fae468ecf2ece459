"""Each relative's loss against its paper's formula, written out plainly in numpy and float64."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from nearkin.errors import ConfigError
from nearkin.methods import FitContext, create
from nearkin.methods.barlow import barlow_terms
from nearkin.methods.byol import BYOLMethod, BYOLNet
from nearkin.methods.lejepa import epps_pulley, sigreg
from nearkin.methods.simclr import nt_xent
from nearkin.methods.simsiam import cosine_distance
from nearkin.methods.vicreg import vicreg_terms
from nearkin.methods.wmse import whiten, wmse

RNG = np.random.default_rng(0)


def pair(n: int = 24, d: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    a = RNG.normal(size=(n, d)) * RNG.uniform(0.5, 2, d) + 0.3
    return torch.from_numpy(a), torch.from_numpy(a + 0.5 * RNG.normal(size=(n, d)))


def test_barlow_twins() -> None:
    a, b = pair()
    za, zb = ((z.numpy() - z.numpy().mean(0)) / np.sqrt(z.numpy().var(0) + 1e-5) for z in (a, b))
    c = np.array([[np.mean(za[:, i] * zb[:, j]) for j in range(6)] for i in range(6)])
    on = sum((1 - c[i, i]) ** 2 for i in range(6))
    off = sum(c[i, j] ** 2 for i in range(6) for j in range(6) if i != j)
    got = barlow_terms(a, b)
    assert float(got[0]) == pytest.approx(on) and float(got[1]) == pytest.approx(off)


def test_barlow_weighs_redundancy_and_scales() -> None:
    method = create("barlow", SMALL | {"redundancy_weight": 0.2, "loss_scale": 0.5}, (3, 32, 32))
    a, b = pair()
    on, off = barlow_terms(a, b)
    loss, terms = method.views_loss([a, b], torch.Generator())
    assert float(loss) == pytest.approx(0.5 * (float(on) + 0.2 * float(off)))
    assert {name: float(v) for name, v in terms.items()} == {"on_diagonal": float(on), "off_diagonal": float(off)}


def test_barlow_is_zero_for_white_equal_views() -> None:
    z = whiten(pair(200, 4)[0])
    on, off = barlow_terms(z, z)
    assert float(on) < 1e-3 and float(off) < 1e-6


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_nt_xent(tau: float) -> None:
    a, b = pair(8)
    z = np.concatenate([a.numpy(), b.numpy()])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    total = 0.0
    for i in range(16):
        j = (i + 8) % 16
        others = sum(math.exp(z[i] @ z[k] / tau) for k in range(16) if k != i)
        total += -math.log(math.exp(z[i] @ z[j] / tau) / others)
    assert float(nt_xent(a, b, tau)) == pytest.approx(total / 16, rel=1e-6)


def test_cosine_distance_and_no_gradient_to_the_target() -> None:
    p, t = (z.clone().requires_grad_() for z in pair())
    loss = cosine_distance(p, t)
    x, y = p.detach().numpy(), t.detach().numpy()
    cos = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert float(loss.detach()) == pytest.approx((1 - cos).mean(), rel=1e-5)
    loss.backward()
    assert p.grad is not None and t.grad is None


def test_byol_loss_is_the_squared_distance_of_unit_vectors() -> None:
    p, t = pair()
    u, v = (torch.nn.functional.normalize(z, dim=1) for z in (p, t))
    assert float(2 * cosine_distance(p, t)) == pytest.approx(float((u - v).square().sum(1).mean()), rel=1e-5)


SMALL = {"encoder": "fast-tiny", "projector": (16, 8), "batch_size": 8}


def _cosine_loss(p: torch.Tensor, z: torch.Tensor) -> float:
    a, b = (x.detach().double().numpy() for x in (p, z))
    return float(np.mean(1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)))


@pytest.mark.parametrize("name", ["simsiam", "byol"])
def test_prediction_losses_are_symmetric_and_cross_the_views(name: str) -> None:
    """SimSiam: D(p1, z2) / 2 + D(p2, z1) / 2, plus 1. BYOL: |q1 - t2|^2 + |q2 - t1|^2 of unit vectors, the target's t."""
    from nearkin.train.device import make_fabric

    method = create(name, SMALL | {"precision": "fp32"}, (3, 32, 32))
    method.fabric = make_fabric("cpu", "fp32")
    net = method.net.train()
    v1, v2 = torch.randn(8, 3, 32, 32), torch.randn(8, 3, 32, 32)
    rng = torch.Generator()
    if name == "simsiam":
        z1, z2 = net(torch.cat([v1, v2])).chunk(2)
        p1, p2 = net.predictor(torch.cat([z1, z2])).chunk(2)
        expected = (_cosine_loss(p1, z2) + _cosine_loss(p2, z1)) / 2
    else:
        with torch.no_grad():  # a target that is another net than the online one
            for parameter in net.target_projector.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        q1, q2 = net.predictor(net(torch.cat([v1, v2]))).chunk(2)
        t1, t2 = net.target(torch.cat([v1, v2])).chunk(2)
        expected = 2 * _cosine_loss(q1, t2) + 2 * _cosine_loss(q2, t1)
    loss, _, _ = method.loss_of_views([v1, v2], rng)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)


def test_lejepa_adds_its_two_parts_by_lambda() -> None:
    method = create("lejepa", SMALL | {"out_dim": 6, "slices": 64, "sigreg_weight": 0.3}, (3, 32, 32))
    zs = [*pair(), pair()[0]]
    loss, terms = method.views_loss(zs, torch.Generator().manual_seed(0))
    stacked = np.stack([z.numpy() for z in zs])
    prediction = np.mean([np.square(z - stacked.mean(0)).mean() for z in stacked])
    assert float(terms["prediction"]) == pytest.approx(prediction, rel=1e-4)
    a = torch.randn((6, 64), generator=torch.Generator().manual_seed(0)).double()
    a = a / a.norm(dim=0)
    each = np.mean([float(sigreg(z, a)) for z in zs])
    assert float(terms["sigreg"]) == pytest.approx(each, rel=1e-3)
    assert float(loss) == pytest.approx(0.7 * prediction + 0.3 * each, rel=1e-3)


def test_byol_target_moves_by_the_schedule() -> None:
    method = create("byol", SMALL | {"epochs": 10, "tau": 0.9}, (3, 32, 32))
    assert isinstance(method, BYOLMethod) and isinstance(method.net, BYOLNet)
    method._steps = 100
    assert method.tau(0) == pytest.approx(0.9) and method.tau(50) == pytest.approx(0.95) and method.tau(100) == 1
    net = method.net
    online, target = next(net.encoder.parameters()), next(net.target_encoder.parameters())
    assert not target.requires_grad
    before = target.clone()
    with torch.no_grad():
        online += 1
    net.move_target(0.75)
    torch.testing.assert_close(target, 0.75 * before + 0.25 * online.detach())


def test_byol_target_follows_in_the_loop(tmp_path: Path) -> None:
    """One step of training: the target lies between where both started and where the online net went, by tau."""
    from tests.methods.test_contract import make_splits

    method = create("byol", SMALL | {"batch_size": 48, "epochs": 1, "tau": 0.75, "precision": "fp32"}, (3, 16, 16))
    starts: list[torch.Tensor] = []

    class Watched(type(method)):  # type: ignore[misc]
        def before_epoch(self, epoch: int) -> None:
            starts.append(next(self.net.encoder.parameters()).detach().clone())

    method.__class__ = Watched
    method.fit(FitContext(make_splits(), tmp_path, device="cpu", progress=False))
    online, target = (next(net.parameters()).detach() for net in (method.net.encoder, method.net.target_encoder))
    assert not torch.equal(online, starts[0])
    torch.testing.assert_close(target, 0.75 * starts[0] + 0.25 * online)


def test_whitening_gives_the_identity() -> None:
    z, _ = pair(200, 6)
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]  # correlated, and the ridge stays far below every variance
    w = whiten(z @ torch.from_numpy(rotation))
    covariance = np.cov(w.numpy(), rowvar=False)
    assert np.abs(covariance - np.eye(6)).max() < 1e-2 and np.abs(w.numpy().mean(0)).max() < 1e-9


def test_wmse() -> None:
    a, b = pair(20, 4)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    expected = []
    for rows in (order[:10], order[10:]):
        u, v = (whiten(z[rows]).numpy() for z in (a, b))
        u, v = u / np.linalg.norm(u, axis=1, keepdims=True), v / np.linalg.norm(v, axis=1, keepdims=True)
        expected.append(np.square(u - v).sum(1).mean())
    assert float(wmse(a, b, order, 10)) == pytest.approx(np.mean(expected))


def test_wmse_needs_more_images_than_dimensions() -> None:
    with pytest.raises(ConfigError, match="out_dim < w_size"):
        create("wmse", SMALL | {"batch_size": 32}, (3, 32, 32))


@pytest.mark.parametrize("name", ["wmse", "lejepa"])
def test_out_dim_replaces_the_projectors_last_width_only(name: str) -> None:
    method = create(name, {"encoder": "fast-tiny", "projector": (24, 512), "out_dim": 12}, (3, 32, 32))
    assert [m.out_features for m in method.net.projector if isinstance(m, torch.nn.Linear)] == [24, 12]


def test_whitening_of_a_diverged_or_collapsed_batch_is_no_crash() -> None:
    """The loop reports a non-finite loss in one line; a failed Cholesky factor must come out as one."""
    z = torch.randn(20, 4)
    z[3, 2] = float("nan")
    assert bool(wmse(z, z, torch.arange(20), 10).isnan())
    same = torch.ones(20, 4, requires_grad=True)
    loss = wmse(same, same, torch.arange(20), 10)
    loss.backward()
    assert float(loss.detach()) == 0 and same.grad is not None and bool(torch.isfinite(same.grad).all())


def test_epps_pulley_against_a_fine_integral() -> None:
    x = RNG.normal(size=(50, 2)) * [1.0, 2.0] + [0.0, 0.5]
    t = np.linspace(-3, 3, 4001)
    for column in range(2):
        phi = np.exp(1j * t[:, None] * x[:, column]).mean(axis=1)
        gap = np.abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)
        expected = 50 * np.trapezoid(gap, t)
        assert float(epps_pulley(torch.from_numpy(x))[column]) == pytest.approx(expected, rel=0.02)


def test_sigreg_prefers_a_gaussian() -> None:
    directions = torch.nn.functional.normalize(torch.from_numpy(RNG.normal(size=(8, 64))), dim=0)
    normal = float(sigreg(torch.from_numpy(RNG.normal(size=(2000, 8))), directions))
    scaled = float(sigreg(torch.from_numpy(2 * RNG.normal(size=(2000, 8))), directions))
    point = float(sigreg(torch.zeros(2000, 8, dtype=torch.float64), directions))
    assert normal < 2 < scaled < point


def test_many_views_reduce_to_two() -> None:
    a, b = pair()
    two, doubled = vicreg_terms(a, b), vicreg_terms(a, b, a, b)
    assert float(doubled.variance) == pytest.approx(float(two.variance))
    assert float(doubled.covariance) == pytest.approx(float(two.covariance))
    # Of the six pairs among (a, b, a, b), four are (a, b) and two are equal.
    assert float(doubled.invariance) == pytest.approx(float(two.invariance) * 4 / 6)
    with pytest.raises(ConfigError, match="at least 2 views"):
        vicreg_terms(a)
