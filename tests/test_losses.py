"""The public loss against the authors' formula, transcribed in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
