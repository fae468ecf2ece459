"""LARS: layer-wise adaptive rate scaling.

You, Gitman, Ginsburg: "Large Batch Training of Convolutional Networks", 2017, with the exclusions of the
self-supervised literature (SimCLR, Barlow Twins, VICReg): groups with ``adapt=False`` (biases, norms) get
plain momentum SGD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class LARS(torch.optim.Optimizer):
    """For each tensor w with gradient g: d = g + wd * w; q = eta |w| / |d|; m = momentum * m + q * d; w -= lr * m."""

    def __init__(
        self, params: Iterable[Any], lr: float, weight_decay: float = 0.0, momentum: float = 0.9, eta: float = 0.02
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "eta": eta, "adapt": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do one step. ``closure`` is not supported and must be None."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                d = p.grad
                if group["weight_decay"]:
                    d = d.add(p, alpha=group["weight_decay"])
                if group["adapt"]:
                    w_norm, d_norm = p.norm(), d.norm()
                    ok = (w_norm > 0) & (d_norm > 0)
                    d = d * torch.where(ok, group["eta"] * w_norm / d_norm.clamp_min(1e-30), torch.ones_like(w_norm))
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(d)
                p.add_(buffer, alpha=-group["lr"])
