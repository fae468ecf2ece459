"""VICReg's terms against plain transcriptions of the paper and of the official code's conventions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nearkin.errors import ConfigError
from nearkin.methods.vicreg import vicreg_terms

GAMMA, EPSILON = 1.0, 1e-4


def paper(z1: NDArray[np.float64], z2: NDArray[np.float64]) -> tuple[float, float, float]:
    """Equations 1 to 6 of Bardes et al. (2022), with loops."""
    n, d = z1.shape

    def v(z: NDArray[np.float64]) -> float:
        total = 0.0
        for j in range(d):
            column = z[:, j]
            variance = sum((x - column.mean()) ** 2 for x in column) / (n - 1)
            total += max(0.0, GAMMA - np.sqrt(variance + EPSILON))
        return total / d

    def c(z: NDArray[np.float64]) -> float:
        mean = z.mean(axis=0)
        covariance = np.zeros((d, d))
        for row in z:
            covariance += np.outer(row - mean, row - mean)
        covariance /= n - 1
        return sum(covariance[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d

    s = sum(float(((a - b) ** 2).sum()) for a, b in zip(z1, z2, strict=True)) / n
    return s, v(z1) + v(z2), c(z1) + c(z2)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    mix = torch.randn(6, 6, generator=g, dtype=torch.float64)
    z = torch.randn(9, 6, generator=g, dtype=torch.float64) @ mix * 0.4
    return z, z + 0.3 * torch.randn(9, 6, generator=g, dtype=torch.float64)


def test_paper_convention_matches_equations(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    got = vicreg_terms(*pair, convention="paper")
    assert [float(t) for t in got] == pytest.approx(paper(pair[0].numpy(), pair[1].numpy()), rel=1e-10)


def test_official_convention_averages_and_halves(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    s, v, c = paper(pair[0].numpy(), pair[1].numpy())
    got = vicreg_terms(*pair)
    assert [float(t) for t in got] == pytest.approx((s / 6, v / 2, c), rel=1e-10)


def test_white_identical_views_cost_nothing() -> None:
    q, _ = torch.linalg.qr(torch.randn(64, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    q = q - q.mean(dim=0)
    q, _ = torch.linalg.qr(q)  # centred, orthogonal columns
    z = q * np.sqrt(63) * 1.5
    terms = vicreg_terms(z, z)
    assert [float(t) for t in terms] == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)


def test_collapse_costs_gamma_and_has_finite_gradient() -> None:
    z = torch.ones(16, 4, dtype=torch.float64, requires_grad=True)
    terms = vicreg_terms(z, z)
    assert float(terms.variance.detach()) == pytest.approx(GAMMA - np.sqrt(EPSILON))
    (grad,) = torch.autograd.grad(terms.variance + terms.covariance, z)
    assert torch.isfinite(grad).all()


def test_gradient_is_exact(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    def total(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.stack(list(vicreg_terms(a, b))).sum()

    assert torch.autograd.gradcheck(total, tuple(t.requires_grad_() for t in pair))


def test_statistics_are_float32_under_autocast(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    z1, z2 = (t.bfloat16() for t in pair)
    with torch.autocast("cpu", torch.bfloat16):
        got = vicreg_terms(z1, z2)
    want = vicreg_terms(z1.float(), z2.float())
    assert all(t.dtype == torch.float32 for t in got)
    assert [float(t) for t in got] == [float(t) for t in want]


def test_bad_input_is_named() -> None:
    z = torch.zeros(4, 2)
    with pytest.raises(ConfigError, match="Did you mean 'paper'"):
        vicreg_terms(z, z, convention="papr")
    with pytest.raises(ConfigError, match="at least 2 images"):
        vicreg_terms(z[:1], z[:1])
