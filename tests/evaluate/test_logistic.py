"""Logistic regression against scikit-learn, its gradient against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from nearkin.evaluate.logistic import Logistic, _objective, fit_logistic
from tests.evaluate.test_linear import blobs


@pytest.mark.parametrize("penalty", [1e-1, 1e-3, 1e-5])
def test_same_minimum_as_scikit_learn(penalty: float) -> None:
    x, y = blobs(600)
    x = StandardScaler().fit_transform(x).astype(np.float32)
    ours = fit_logistic(torch.from_numpy(x), torch.from_numpy(y), 4, penalty)
    theirs = LogisticRegression(C=1 / (penalty * len(y)), max_iter=5000, tol=1e-8).fit(x, y)
    assert ours.converged
    # The intercept is free up to a constant: compare logits, centred.
    a = x @ ours.weight.numpy() + ours.bias.numpy()
    b = theirs.decision_function(x)
    assert (
        np.abs((a - a.mean(axis=1, keepdims=True)) - (b - b.mean(axis=1, keepdims=True))).max() < 0.02 * np.abs(b).max()
    )
    assert (a.argmax(axis=1) == theirs.predict(x)).mean() > 0.995


def test_loss_and_gradient_are_autograds() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 7, generator=g), torch.randint(0, 3, (50,), generator=g)
    weight, bias = torch.randn(3, 7, generator=g).requires_grad_(), torch.randn(3, generator=g).requires_grad_()
    wanted = torch.nn.functional.cross_entropy(x @ weight.T + bias, y) + 0.05 * weight.square().sum()
    by_weight, by_bias = torch.autograd.grad(wanted, (weight, bias))
    loss, gradients = _objective(x, y, weight.detach(), bias.detach(), 0.1)
    assert float(loss) == pytest.approx(float(wanted.detach()), rel=1e-6)
    assert torch.allclose(gradients[0], by_weight, atol=1e-6) and torch.allclose(gradients[1], by_bias, atol=1e-6)


def test_giving_up_returns_the_rough_fit_and_going_on_reaches_the_minimum() -> None:
    x, y = blobs(600, spread=3.0)
    features = torch.from_numpy(StandardScaler().fit_transform(x).astype(np.float32))
    labels = torch.from_numpy(y)
    asked: list[Logistic] = []

    def give_up(model: Logistic) -> bool:
        asked.append(model)
        return True

    rough = fit_logistic(features, labels, 4, 1e-6, give_up=give_up)
    assert len(asked) == 1 and rough is asked[0] and not rough.converged
    whole = fit_logistic(features, labels, 4, 1e-6)
    resumed = fit_logistic(features, labels, 4, 1e-6, give_up=lambda model: False)
    assert whole.converged and resumed.converged

    def loss(model: Logistic) -> float:
        return float(_objective(features, labels, model.weight.T, model.bias, 1e-6)[0])

    assert loss(resumed) == pytest.approx(loss(whole), rel=1e-5) and loss(rough) >= loss(whole) * (1 - 1e-6)
