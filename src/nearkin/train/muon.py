"""Muon: momentum whose matrix update is orthogonalised by a Newton-Schulz iteration.

Jordan et al.: "Muon: An optimizer for hidden layers in neural networks", 2024. torch.optim.Muon takes matrices
only; convolution kernels (O, I, H, W) are treated here as O x (I H W) matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nearkin.train.device import native_bf16

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(g: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of ``g`` (R, C) towards 1 by ``steps`` quintic Newton-Schulz iterations.

    In bf16 where that is native (the iteration corrects its own rounding), else float32. Returns float32.
    """
    a, b, c = _COEFFICIENTS
    x = g.to(torch.bfloat16 if native_bf16(g.device.type) else torch.float32)
    x = x / (x.norm() + 1e-7)
    tall = x.size(0) > x.size(1)
    if tall:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    out: Tensor = (x.T if tall else x).float()
    return out


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised update scaled by sqrt(max(1, rows / columns)), decoupled weight decay."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do one step. ``closure`` is not supported and must be None."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(p.grad)
                update = orthogonalize(p.grad.add(buffer, alpha=group["momentum"]).flatten(1))
                update *= max(1.0, update.size(0) / update.size(1)) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view_as(p).to(p.dtype), alpha=-group["lr"])
