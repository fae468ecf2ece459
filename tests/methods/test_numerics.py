"""What every loss must do whatever the numbers: symmetries, scale, exact gradients, no overflow, no NaN from flat batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nearkin.losses import vicreg_loss
from nearkin.methods.barlow import barlow_terms
from nearkin.methods.lejepa import sigreg
from nearkin.methods.lo import pyramid_l1
from nearkin.methods.simclr import nt_xent
from nearkin.methods.simsiam import cosine_distance
from nearkin.methods.vicreg import vicreg_terms
from nearkin.methods.wmse import wmse

N, D = 12, 4
Loss = Callable[[Tensor, Tensor], Tensor]


def _barlow(a: Tensor, b: Tensor) -> Tensor:
    on, off = barlow_terms(a, b)
    return on + 0.1 * off


def _lejepa(a: Tensor, b: Tensor) -> Tensor:
    directions = torch.nn.functional.normalize(
        torch.randn(a.shape[1], 8, generator=torch.Generator().manual_seed(0)), dim=0
    )
    return sigreg(a, directions) + sigreg(b, directions) + vicreg_terms(a, b).invariance / 4


LOSSES: dict[str, Loss] = {
    "vicreg": vicreg_loss,
    "vicreg-paper": lambda a, b: vicreg_loss(a, b, convention="paper"),
    "barlow": _barlow,
    "simclr": lambda a, b: nt_xent(a, b, 0.5),
    "byol, simsiam": cosine_distance,
    "wmse": lambda a, b: wmse(a, b, torch.arange(len(a)), len(a)),
    "lejepa": _lejepa,
}
quick = settings(max_examples=15, deadline=None, derandomize=True, database=None)
seeds, every = st.integers(0, 2**31), pytest.mark.parametrize("name", list(LOSSES))


def pair(seed: int, n: int = N, d: int = D) -> tuple[Tensor, Tensor]:
    """Two correlated views, float64 (n, d), dimensions of different scale."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, d)) * rng.uniform(0.3, 2, d) + rng.normal(size=d)
    return torch.from_numpy(a), torch.from_numpy(a + 0.4 * rng.normal(size=(n, d)))


@every
@quick
@given(seeds)
def test_the_order_of_images_and_of_views_does_not_matter(name: str, seed: int) -> None:
    (a, b), loss = pair(seed), LOSSES[name]
    order = torch.from_numpy(np.random.default_rng(seed).permutation(N))
    torch.testing.assert_close(loss(a[order], b[order]), loss(a, b), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(loss(b, a), loss(a, b), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["vicreg", "vicreg-paper", "barlow", "simclr", "byol, simsiam"])
@quick
@given(seeds)
def test_the_order_of_dimensions_does_not_matter(name: str, seed: int) -> None:
    (a, b), loss = pair(seed), LOSSES[name]
    order = torch.from_numpy(np.random.default_rng(seed).permutation(D))
    torch.testing.assert_close(loss(a[:, order], b[:, order]), loss(a, b), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["vicreg", "vicreg-paper", "barlow", "wmse"])
@quick
@given(seeds, st.floats(-100, 100))
def test_a_common_shift_does_not_matter_where_statistics_are_centred(name: str, seed: int, by: float) -> None:
    (a, b), loss = pair(seed), LOSSES[name]
    torch.testing.assert_close(loss(a + by, b + by), loss(a, b), rtol=1e-7, atol=1e-9)
    if not name.startswith("vicreg"):  # standardised or whitened on their own
        torch.testing.assert_close(loss(a + by, b - by), loss(a, b), rtol=1e-7, atol=1e-9)


@quick
@given(seeds, st.floats(0.05, 20))
def test_vicregs_terms_scale_as_their_formulas_say(seed: int, by: float) -> None:
    a, b = pair(seed)
    one, scaled = vicreg_terms(a, b), vicreg_terms(by * a, by * b)
    torch.testing.assert_close(scaled.invariance, by**2 * one.invariance, rtol=1e-9, atol=0)
    torch.testing.assert_close(scaled.covariance, by**4 * one.covariance, rtol=1e-9, atol=0)
    assert (scaled.variance <= one.variance) if by >= 1 else (scaled.variance >= one.variance)
    assert 0 <= float(scaled.variance) <= 1


@pytest.mark.parametrize(
    ("name", "rtol"), [("simclr", 1e-9), ("byol, simsiam", 1e-9), ("wmse", 1e-7), ("barlow", 1e-2)]
)
@quick
@given(seeds, st.floats(1, 50))
def test_scale_does_not_matter_to_losses_of_directions(name: str, rtol: float, seed: int, by: float) -> None:
    (a, b), loss = pair(seed), LOSSES[name]
    # Barlow Twins' epsilon of 1e-5 is the one thing in it that has a scale.
    torch.testing.assert_close(loss(by * a, by * b), loss(a, b), rtol=rtol, atol=1e-3 if name == "barlow" else 1e-9)


@every
@settings(max_examples=3, deadline=None, derandomize=True, database=None)
@given(seeds)
def test_gradients_equal_finite_differences(name: str, seed: int) -> None:
    a, b = (z.requires_grad_() for z in pair(seed, 8, 3))
    loss = LOSSES[name]
    if name == "byol, simsiam":  # the target's side is constant by design
        assert torch.autograd.gradcheck(lambda p: loss(p, b), (a,))
    else:
        # W-MSE's ridge, 1e-4 of the variance, is held constant on purpose.
        assert torch.autograd.gradcheck(loss, (a, b), atol=2e-3 if name == "wmse" else 1e-5)


@every
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_input_is_summed_in_float32(name: str, kind: torch.dtype) -> None:
    """Squares of 300 and sums of such overflow float16, and in bfloat16 a sum of 1000 terms stops growing."""
    if name == "lejepa":
        a, b = ((z * 3).to(kind) for z in pair(0, 1000))
    else:
        a, b = ((z * 300).to(kind) for z in pair(0, 1000))
    loss, want = LOSSES[name], LOSSES[name](a.float(), b.float())
    with torch.autocast("cpu", torch.bfloat16):
        got = loss(a, b)
    assert got.dtype == torch.float32 and bool(torch.isfinite(got)) and float(got) == float(want)
    if kind == torch.bfloat16:
        a.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(a, b), a)
        assert bool(torch.isfinite(gradient).all()) and bool(gradient.any())


@every
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_a_batch_of_equal_vectors_has_finite_loss_and_gradient(name: str, value: float) -> None:
    a, b = (torch.full((N, D), value, requires_grad=True) for _ in range(2))
    loss = LOSSES[name](a, b)
    loss.backward()
    assert bool(torch.isfinite(loss)) and a.grad is not None and bool(torch.isfinite(a.grad).all())


@quick
@given(seeds, st.floats(0.1, 10), st.floats(-3, 3))
def test_the_pyramids_distance_is_a_seminorm_of_the_difference(seed: int, by: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (torch.from_numpy(rng.normal(size=(2, 3, 12, 12))).float() for _ in range(3))
    whole = pyramid_l1(a, b)
    torch.testing.assert_close(pyramid_l1(by * a, by * b), by * whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pyramid_l1(a + shift, b + shift), whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pyramid_l1(b, a), whole)
    assert bool((pyramid_l1(a, c) <= whole + pyramid_l1(b, c) + 1e-4).all())
    large = torch.full((2, 3, 12, 12), 6e4, dtype=torch.float16)  # of which no two can be added in float16
    assert pyramid_l1(large, -large).tolist() == pytest.approx([2 * float(large[0, 0, 0, 0])] * 2)
