"""Linear probes on frozen features: the reference study's SGD, and converged logistic regression."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearkin.evaluate.score import Score, score

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]
PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_SGD_LR, _SGD_BATCH = 0.1, 256


def standardize(train: NDArray[np.float32], *others: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Subtract the train mean and divide by the train std, per dimension; constant dimensions become 0."""
    mean = train.mean(axis=0, dtype=np.float64)
    std = train.std(axis=0, dtype=np.float64)
    # A constant column has a std of rounding size only; dividing by it would blow noise up.
    scale = np.where(std > 1e-6 * np.maximum(1e-12, np.abs(mean)), std, np.inf)
    return [((z - mean) / scale).astype(np.float32) for z in (train, *others)]


def linear_sgd(
    train: Labelled, test: Labelled, n_classes: int, *, epochs: int = 10, seed: int = 0, standardized: bool = False
) -> Score:
    """The reference study's probe: one linear layer, SGD, 10 epochs, on the features as they are.

    SGD with momentum 0.9, learning rate 0.1 with cosine decay, batch 256, no weight decay (the study states
    the epochs only; the rest is fixed here and never tuned). Raw features show a collapse of scale as failure;
    ``standardized`` shows what information is left.
    """
    x, y = train
    x_test = test[0]
    if standardized:
        x, x_test = standardize(x, x_test)
    xt, yt = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y)
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
        predicted = torch.nan_to_num(logits).argmax(dim=1).numpy()
    kind = "standardised" if standardized else "raw"
    protocol = (
        f"linear layer on {kind} frozen features, SGD lr {_SGD_LR} momentum 0.9 cosine, {epochs} epochs, single view"
    )
    return score(predicted, test[1], protocol)


def fit_logistic(
    x: Tensor, y: Tensor, n_classes: int, penalty: float, start: Tensor | None = None, max_iter: int = 300
) -> Tensor:
    """Minimise mean cross-entropy + penalty / 2 * |W|^2 (bias unpenalised) by L-BFGS.

    Args:
        x: float (N, D). y: int64 (N,). start: warm start (D + 1, n_classes).
    Returns:
        (D + 1, n_classes): weights, then the bias row. ``penalty`` equals 1 / (C * N) of scikit-learn.
    """
    w = (torch.zeros(x.shape[1] + 1, n_classes, dtype=x.dtype) if start is None else start.clone()).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [w],
        max_iter=max_iter,
        history_size=20,
        tolerance_grad=1e-5,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = torch.addmm(w[-1], x, w[:-1])
        loss = torch.nn.functional.cross_entropy(logits, y) + 0.5 * penalty * w[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return w.detach()


def linear_probe(train: Labelled, val: Labelled, test: Labelled, n_classes: int) -> Score:
    """Multinomial logistic regression on standardised features; the L2 strength is chosen on validation.

    Fitted on train only, from the strongest to the weakest penalty with warm starts, stopping when the
    validation accuracy has fallen twice; test is read once, with the chosen weights.
    """
    parts = standardize(train[0], val[0], test[0])
    x, x_val, x_test = (torch.from_numpy(part) for part in parts)
    y = torch.from_numpy(train[1])
    best: tuple[float, float, Tensor] | None = None
    w: Tensor | None = None
    worse = 0
    for penalty in PENALTIES:
        w = fit_logistic(x, y, n_classes, penalty, w, max_iter=100)
        accuracy = float((_predict(x_val, w) == val[1]).mean())
        if best is None or accuracy > best[0]:
            best, worse = (accuracy, penalty, w), 0
        else:
            worse += 1
            if worse == 2:
                break
    assert best is not None
    accuracy, penalty, w = best
    protocol = (
        "L2 logistic regression (L-BFGS) on standardised frozen features, "
        f"penalty of {list(PENALTIES)} chosen on val, fitted on train, single view"
    )
    return score(_predict(x_test, w), test[1], protocol, C=1 / (penalty * len(y)), val_accuracy=accuracy)


def _predict(x: Tensor, w: Tensor) -> NDArray[np.int64]:
    out: NDArray[np.int64] = torch.addmm(w[-1], x, w[:-1]).argmax(dim=1).numpy()
    return out
