"""The public losses against the papers' formulas, transcribed in NumPy and float64; what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nearkin import losses
from nearkin.errors import ConfigError
from nearkin.losses import vicreg_loss


def by_hand(a: np.ndarray, b: np.ndarray, convention: str, weights: tuple[float, float, float]) -> float:
    n, d = a.shape
    total = 0.0
    scale = n * d if convention == "official" else n
    total += weights[0] * ((a - b) ** 2).sum() / scale
    for z in (a, b):
        hinge = np.maximum(0, 1 - np.sqrt(z.var(axis=0, ddof=1) + 1e-4)).mean()
        total += weights[1] * hinge * (0.5 if convention == "official" else 1.0)
        c = np.cov(z, rowvar=False)
        total += weights[2] * ((c**2).sum() - (np.diag(c) ** 2).sum()) / d
    return total


@pytest.mark.parametrize("convention", ["official", "paper"])
@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 3.0)])
def test_it_is_the_papers_formula(convention: str, weights: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 32, 5)) * 0.7
    names = ("invariance_weight", "variance_weight", "covariance_weight")
    given = dict(zip(names, weights, strict=True))
    found = vicreg_loss(torch.from_numpy(a), torch.from_numpy(b), convention=convention, **given)
    assert float(found) == pytest.approx(by_hand(a, b, convention, weights), rel=1e-10)


def test_gradients_reach_both_views_and_autocast_does_not_matter() -> None:
    a, b = (torch.randn(16, 4, generator=torch.Generator().manual_seed(k), requires_grad=True) for k in (0, 1))
    loss = vicreg_loss(a, b)
    loss.backward()
    assert loss.ndim == 0 and a.grad is not None and b.grad is not None and bool(a.grad.abs().sum() > 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(vicreg_loss(a, b).detach()) == float(loss.detach())


def test_bad_input_is_one_line() -> None:
    z = torch.zeros(4, 3)
    for bad, words in (((z, z[:2]), "one shape"), ((z[0], z[0]), "one shape"), ((z.long(), z.long()), "floating")):
        with pytest.raises(ConfigError, match=words):
            vicreg_loss(*bad)
    with pytest.raises(ConfigError, match="Did you mean 'official'"):
        vicreg_loss(z, z, convention="oficial")
    with pytest.raises(ConfigError, match="at least 2 images"):
        vicreg_loss(z[:1], z[:1])


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def barlow_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (a, b))
    c = a.T @ b / len(a)
    on = sum((1 - c[i, i]) ** 2 for i in range(len(c)))
    return float(on + 0.0051 * sum(c[i, j] ** 2 for i in range(len(c)) for j in range(len(c)) if i != j))


def nt_xent_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    z, n = unit(np.concatenate([a, b])), len(a)
    e = np.exp(z @ z.T / 0.5)
    return float(np.mean([-np.log(e[i, (i + n) % (2 * n)] / (e[i].sum() - e[i, i])) for i in range(2 * n)]))


def wmse_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """One sub-batch of all images: the order does not matter. Whitened by the covariance's inverse Cholesky factor."""

    def whitened(z: np.ndarray) -> np.ndarray:
        z = z - z.mean(0)
        c = np.cov(z, rowvar=False)
        return unit(np.linalg.solve(np.linalg.cholesky(c + 1e-4 * np.diag(c).mean() * np.eye(len(c))), z.T).T)

    return float(np.square(whitened(a) - whitened(b)).sum(1).mean())


def lejepa_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """With the same 256 directions; the integral by a finer rule than the code's, hence equal to about 1 %."""
    directions = torch.randn(a.shape[1], 256, generator=torch.Generator().manual_seed(3)).double().numpy()
    directions /= np.linalg.norm(directions, axis=0)
    t = np.linspace(-3, 3, 601)
    statistics = []
    for z in (a, b):
        for x in (z @ directions).T:
            phi = np.exp(1j * t[:, None] * x).mean(axis=1)
            gap = np.abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)
            statistics.append(len(x) * np.trapezoid(gap, t))
    return float(0.98 * np.square((a - b) / 2).mean() + 0.02 * np.mean(statistics))


def byol_by_hand(pa: np.ndarray, pb: np.ndarray, ta: np.ndarray, tb: np.ndarray) -> float:
    return float(sum(np.square(unit(p) - unit(t)).sum(1).mean() for p, t in ((pa, tb), (pb, ta))))


def simsiam_by_hand(pa: np.ndarray, pb: np.ndarray, za: np.ndarray, zb: np.ndarray) -> float:
    return float(1 - sum((unit(p) * unit(z)).sum(1).mean() for p, z in ((pa, zb), (pb, za))) / 2)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


# Name -> the function, its transcription, how many arrays it takes, and the tolerance.
RELATIVES: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., float], int, float]] = {
    "barlow_twins_loss": (losses.barlow_twins_loss, barlow_by_hand, 2, 1e-9),
    "nt_xent_loss": (losses.nt_xent_loss, nt_xent_by_hand, 2, 1e-9),
    "wmse_loss": (lambda a, b: losses.wmse_loss(a, b, w_size=len(a), generator=seeded()), wmse_by_hand, 2, 1e-9),
    "lejepa_loss": (lambda *zs: losses.lejepa_loss(*zs, generator=seeded()), lejepa_by_hand, 2, 1e-2),
    "byol_loss": (losses.byol_loss, byol_by_hand, 4, 1e-9),
    "simsiam_loss": (losses.simsiam_loss, simsiam_by_hand, 4, 1e-9),
}


@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_are_their_papers_formulas(name: str) -> None:
    loss, by_hand, arrays, tolerance = RELATIVES[name]
    rng = np.random.default_rng(0)
    first = rng.normal(size=(32, 5)) * rng.uniform(0.5, 2, 5) + 0.3
    given = [first, *(first + 0.5 * rng.normal(size=(arrays - 1, 32, 5)))]
    found = loss(*map(torch.from_numpy, given))
    assert found.ndim == 0 and found.dtype == torch.float64
    assert float(found) == pytest.approx(by_hand(*given), rel=tolerance)


@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_have_gradients_are_float32_under_autocast_and_refuse_in_one_line(name: str) -> None:
    loss, _, arrays, _ = RELATIVES[name]
    rng = torch.Generator().manual_seed(0)
    given = [torch.randn(16, 4, generator=rng).requires_grad_() for _ in range(arrays)]
    plain = loss(*given)
    plain.backward()
    targets = given[2:]  # of BYOL and SimSiam, which no gradient reaches
    assert all(z.grad is not None and bool(z.grad.isfinite().all()) for z in given[:2])
    assert all(z.grad is None for z in targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = loss(*given)
    assert again.dtype == torch.float32 and float(again.detach()) == float(plain.detach())
    for bad in ([given[0], given[1][:2]], [given[0][0], given[1][0]]):
        with pytest.raises(ConfigError, match=f"{name} needs at least two views of one shape"):
            loss(*bad, *bad[: arrays - 2])
    with pytest.raises(ConfigError, match="floating point"):
        loss(*(z.long() for z in given))


def test_illegal_weights_and_sizes_are_one_line() -> None:
    z = torch.randn(16, 4)
    cases: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
        (losses.nt_xent_loss, {"temperature": 0}, "temperature is 0"),
        (losses.wmse_loss, {"w_size": 4}, "D < w_size <= N"),
        (losses.wmse_loss, {"w_size": 8, "w_iter": 0}, "w_iter is 0"),
        (losses.lejepa_loss, {"sigreg_weight": 1.5}, "sigreg_weight is 1.5"),
        (losses.lejepa_loss, {"slices": 0}, "slices is 0"),
    ]
    for loss, more, words in cases:
        with pytest.raises(ConfigError, match=words):
            loss(z, z, **more)
    for loss in (losses.barlow_twins_loss, losses.nt_xent_loss):
        with pytest.raises(ConfigError, match="at least 2 images"):
            loss(z[:1], z[:1])


def test_partitions_and_directions_come_from_the_generator() -> None:
    a, b = torch.randn(2, 32, 4, generator=torch.Generator().manual_seed(0))
    for loss, more in ((losses.wmse_loss, {"w_size": 8, "w_iter": 2}), (losses.lejepa_loss, {"slices": 4})):
        one, two, other = (float(loss(a, b, generator=torch.Generator().manual_seed(k), **more)) for k in (3, 3, 4))
        assert one == two != other
