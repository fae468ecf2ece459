"""Linear probes on frozen features: the reference study's SGD, and converged logistic regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearkin.errors import DataError
from nearkin.evaluate.score import Score, score

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]
PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
GRADIENT_TOLERANCE = 1e-4  # scikit-learn's default tol
_SGD_LR, _SGD_BATCH = 0.1, 256
_CHUNK = 4096
_CURVATURE_ROWS = 10_000


def standardize(train: NDArray[np.float32], *others: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Subtract the train mean and divide by the train std, per dimension; constant dimensions become 0."""
    mean = train.mean(axis=0, dtype=np.float64)
    std = train.std(axis=0, dtype=np.float64)
    # A constant column has a std of rounding size only; dividing by it would blow noise up.
    scale = np.where(std > 1e-6 * np.maximum(1e-12, np.abs(mean)), std, np.inf)
    out = []
    for z in (train, *others):
        scaled = np.empty(z.shape, dtype=np.float32)
        for start in range(0, len(z), _CHUNK):  # float64 only by chunks: pixels of a large set fill the memory
            scaled[start : start + _CHUNK] = (z[start : start + _CHUNK] - mean) / scale
        out.append(scaled)
    return out


def linear_sgd(
    train: Labelled, test: Labelled, n_classes: int, *, epochs: int = 10, seed: int = 0, standardized: bool = False
) -> Score:
    """:func:`linear_sgd_predictions` as a score."""
    predicted = linear_sgd_predictions(train, test[0], n_classes, epochs=epochs, seed=seed, standardized=standardized)
    kind = "standardised" if standardized else "raw"
    protocol = (
        f"linear layer on {kind} frozen features, SGD lr {_SGD_LR} momentum 0.9 cosine, batch {_SGD_BATCH}, "
        f"{epochs} epochs on train, nothing tuned, single view"
    )
    return score(predicted, test[1], protocol)


def linear_sgd_predictions(
    train: Labelled,
    test: NDArray[np.float32],
    n_classes: int,
    *,
    epochs: int = 10,
    seed: int = 0,
    standardized: bool = False,
) -> NDArray[np.int64]:
    """The reference study's probe: one linear layer, SGD, 10 epochs, on the features as they are.

    Returns the predicted class of each row of ``test`` (N, D), int64 (N,).

    SGD with momentum 0.9, learning rate 0.1 with cosine decay to 0, batch 256, cross-entropy, no weight decay,
    weights start at 0 (the study states the epochs only; the rest is fixed here and never tuned). With one learning
    rate for every scale, raw features show a collapse of scale as failure; ``standardized`` (by train mean and std)
    shows what information is left. A probe that diverges predicts class 0 where its logits are not finite.
    """
    x, y = train
    x_test = test
    if standardized:
        x, x_test = standardize(x, x_test)
    xt, yt = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(y))
    g = torch.Generator().manual_seed(seed)
    weight = torch.zeros(n_classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=_SGD_LR, momentum=0.9)
    total = epochs * -(-len(xt) // _SGD_BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    for _ in range(epochs):
        for index in torch.randperm(len(xt), generator=g).split(_SGD_BATCH):  # type: ignore[no-untyped-call]
            loss = torch.nn.functional.cross_entropy(xt[index] @ weight.T + bias, yt[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        logits = torch.from_numpy(np.ascontiguousarray(x_test)) @ weight.T + bias
        predicted: NDArray[np.int64] = torch.nan_to_num(logits).argmax(dim=1).numpy()
    return predicted


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
) -> Logistic:
    """Minimise mean cross-entropy + penalty / 2 * |W|^2 (bias unpenalised) by preconditioned L-BFGS.

    The weights are W = inv(L') V with L L' the Hessian at zero, and L-BFGS works on V: correlated features, which
    make plain L-BFGS crawl, then cost nothing. The preconditioner changes the path, not the minimum.

    Args:
        x: float (N, D). y: int64 (N,). penalty: 1 / (C * N) in scikit-learn's terms; above 0.
        second: ``curvature(x)``, to share it between fits. start: warm start.
        tolerance: stop when no entry of the gradient with respect to V is larger.
    """
    factor = _factor(curvature(x) if second is None else second, n_classes, penalty)
    v = torch.zeros(x.shape[1], n_classes, dtype=x.dtype)
    bias = torch.zeros(n_classes, dtype=x.dtype)
    if start is not None:
        v, bias = factor.T @ start.weight, start.bias.clone()
    v.requires_grad_()
    bias.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [v, bias],
        max_iter=max_iter,
        history_size=20,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def objective(weight: Tensor) -> Tensor:
        losses = torch.nn.functional.cross_entropy(torch.addmm(bias, x, weight), y, reduction="none")
        # Summed in float64: near the minimum the line search compares losses that float32 cannot tell apart.
        return losses.double().mean() + 0.5 * penalty * weight.square().sum(dtype=torch.float64)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(torch.linalg.solve_triangular(factor.T, v, upper=True))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    weight = torch.linalg.solve_triangular(factor.T, v.detach(), upper=True).requires_grad_()
    gradients = torch.autograd.grad(objective(weight), (weight, bias))
    worst = max(float(g.abs().max()) for g in gradients)
    return Logistic(weight.detach(), bias.detach(), worst <= GRADIENT_TOLERANCE)


def linear_probe(train: Labelled, val: Labelled, test: Labelled, n_classes: int) -> Score:
    """Multinomial logistic regression on standardised features; the L2 strength is chosen on validation.

    Fitted on train only, from the strongest to the weakest penalty with warm starts, stopping when the
    validation accuracy has not risen twice in a row; test is read once, with the chosen weights.
    ``chosen`` holds C (scikit-learn's), val_accuracy and whether the chosen fit converged.

    Raises:
        DataError: features that are not finite.
    """
    predicted, protocol, chosen = linear_predictions(train, val, test[0], n_classes)
    return score(predicted, test[1], protocol, **chosen)


def linear_predictions(
    train: Labelled, val: Labelled, test: NDArray[np.float32], n_classes: int
) -> tuple[NDArray[np.int64], str, dict[str, float]]:
    """:func:`linear_probe`'s predictions for ``test`` (N, D): classes int64 (N,), the protocol in words, what was chosen."""
    if not all(np.isfinite(z).all() for z in (train[0], val[0], test)):
        raise DataError("linear probe: the features hold values that are not finite; the run that made them diverged.")
    parts = standardize(train[0], val[0], test)
    x, x_val, x_test = (torch.from_numpy(part) for part in parts)
    y = torch.from_numpy(np.ascontiguousarray(train[1]))
    second = curvature(x)
    best: tuple[float, float, Logistic] | None = None
    model: Logistic | None = None
    worse = 0
    for penalty in PENALTIES:
        model = fit_logistic(x, y, n_classes, penalty, second=second, start=model)
        accuracy = float((model.predict(x_val) == val[1]).mean())
        if best is None or accuracy > best[0]:
            best, worse = (accuracy, penalty, model), 0
        else:
            worse += 1
            if worse == 2:
                break
    assert best is not None
    accuracy, penalty, model = best
    protocol = (
        "L2 logistic regression (L-BFGS, "
        f"{'converged' if model.converged else 'NOT converged'}) on standardised frozen features, "
        f"penalty of {list(PENALTIES)} chosen on val, fitted on train, single view"
    )
    chosen = {"C": 1 / (penalty * len(y)), "val_accuracy": accuracy, "converged": model.converged}
    return model.predict(x_test), protocol, chosen
