"""Multinomial logistic regression with an L2 penalty, by preconditioned L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GRADIENT_TOLERANCE = 1e-4  # scikit-learn's default tol
ROUGH_ITERATIONS = 20
_CURVATURE_ROWS = 10_000


@dataclass(frozen=True)
class Logistic:
    """A fitted multinomial logistic regression.

    Attributes:
        weight: float (D, n_classes). bias: float (n_classes,).
        converged: the largest entry of the objective's gradient is at most ``GRADIENT_TOLERANCE``.
    """

    weight: Tensor
    bias: Tensor
    converged: bool

    def predict(self, x: Tensor) -> NDArray[np.int64]:
        """float (N, D) -> class int64 (N,)."""
        out: NDArray[np.int64] = torch.addmm(self.bias, x, self.weight).argmax(dim=1).numpy()
        return out


def curvature(x: Tensor) -> Tensor:
    """X'X / N of features (N, D) -> (D, D), from at most 10,000 evenly spaced rows: enough to precondition with."""
    rows = x[:: -(-len(x) // _CURVATURE_ROWS)]
    return rows.T @ rows / len(rows)


def _factor(second: Tensor, n_classes: int, penalty: float) -> Tensor:
    """Lower Cholesky factor L (D, D) of the objective's Hessian at zero weights, X'X / (N K) + penalty I."""
    # The floor keeps the factor real when rounding makes a rank-deficient X'X slightly indefinite.
    floor = 1e-5 * float(second.diagonal().mean()) / n_classes
    eye = torch.eye(len(second), dtype=second.dtype)
    while True:
        factor, failed = torch.linalg.cholesky_ex(second / n_classes + (penalty + floor) * eye)
        if not failed:
            out: Tensor = factor
            return out
        floor = max(10 * floor, 1e-7)


def _objective(
    x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, penalty: float
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The loss of weights (K, D), float64, and its gradients. By hand: half of autograd's time.

    Classes come first everywhere, because products with a thin matrix are fastest so: (K, D) (D, N) and (K, N) (N, D).
    """
    logits = torch.addmm(bias[:, None], weight, x.T)
    shares = torch.logsumexp(logits, dim=0)
    # Summed in float64: near the minimum the line search compares losses that float32 cannot tell apart.
    loss = (shares - logits.gather(0, y[None])[0]).double().mean()
    loss += 0.5 * penalty * weight.square().sum(dtype=torch.float64)
    excess = logits.sub_(shares).exp_()  # probabilities, and then their difference to the labels
    excess.scatter_add_(0, y[None], torch.full((1, len(y)), -1.0, dtype=x.dtype))
    excess /= len(y)
    return loss, (torch.addmm(weight, excess, x, beta=penalty), excess.sum(dim=1))


def fit_logistic(
    x: Tensor,
    y: Tensor,
    n_classes: int,
    penalty: float,
    *,
    second: Tensor | None = None,
    start: Logistic | None = None,
    max_iter: int = 200,
    tolerance: float = 1e-5,
    give_up: Callable[[Logistic], bool] | None = None,
) -> Logistic:
    """Minimise mean cross-entropy + penalty / 2 * |W|^2 (bias unpenalised) by preconditioned L-BFGS.

    The weights are W = inv(L') V with L L' the Hessian at zero, and L-BFGS works on V: correlated features, which
    make plain L-BFGS crawl, then cost nothing. The preconditioner changes the path, not the minimum.

    Args:
        x: float (N, D). y: int64 (N,). penalty: 1 / (C * N) in scikit-learn's terms; above 0.
        second: ``curvature(x)``, to share it between fits. start: warm start.
        tolerance: stop when no entry of the gradient with respect to V is larger.
        give_up: asked about the weights after 20 iterations; where it says yes, they are returned, as not converged.
    """
    factor = _factor(curvature(x) if second is None else second, n_classes, penalty)
    v = torch.zeros(n_classes, x.shape[1], dtype=x.dtype)  # V', row by row as in _objective
    bias = torch.zeros(n_classes, dtype=x.dtype)
    if start is not None:
        v, bias = (start.weight.T @ factor).contiguous(), start.bias.clone()
    optimizer = torch.optim.LBFGS(
        [v, bias],
        max_iter=max_iter if give_up is None else min(max_iter, ROUGH_ITERATIONS),
        history_size=20,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def weight() -> Tensor:
        solved: Tensor = torch.linalg.solve_triangular(factor, v, upper=False, left=False)
        return solved

    def closure() -> Tensor:
        loss, (by_weight, by_bias) = _objective(x, y, weight(), bias, penalty)
        by_v = torch.linalg.solve_triangular(factor.T, by_weight, upper=True, left=False)
        v.grad, bias.grad = by_v.contiguous(), by_bias
        return loss

    def model() -> Logistic:
        found = weight()
        worst = max(float(g.abs().max()) for g in _objective(x, y, found, bias, penalty)[1])
        return Logistic(found.T.contiguous(), bias.clone(), worst <= GRADIENT_TOLERANCE)

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    if give_up is not None and max_iter > ROUGH_ITERATIONS:
        rough = Logistic(weight().T.contiguous(), bias.clone(), False)
        if give_up(rough):
            return rough
        left = max_iter - ROUGH_ITERATIONS
        optimizer.param_groups[0].update(max_iter=left, max_eval=left * 5 // 4)
        optimizer.step(closure)  # type: ignore[no-untyped-call]  # goes on with what it has learnt of the curvature
    return model()
