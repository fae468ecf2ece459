"""Optimisers by name, without weight decay on biases and normalisation parameters; LARS and Muon.

LARS: layer-wise adaptive rate scaling. You, Gitman, Ginsburg: "Large Batch Training of Convolutional Networks", 2017, with the
exclusions of the self-supervised literature (SimCLR, Barlow Twins, VICReg): groups with ``adapt=False`` (biases, norms) get
plain momentum SGD. timm's Lars leaves a tensor without weight decay unadapted and has another denominator.

Muon: momentum whose matrix update is orthogonalised by a Newton-Schulz iteration. Jordan et al.: "Muon: An optimizer for
hidden layers in neural networks", 2024. torch.optim.Muon takes matrices only; convolution kernels (O, I, H, W) are treated
here as O x (I H W) matrices. timm's Muon averages the momentum where this one sums it, and always iterates in bf16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nearkin.train.config import TrainConfig
from nearkin.train.device import native_bf16

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Muon's Newton-Schulz iteration


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


def make_optimizers(module: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Build the optimisers of ``module``. Each parameter group carries "peak_lr" for the schedule."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim >= 2]
    vectors = [p for p in parameters if p.ndim < 2]  # biases, norms
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0, "adapt": False},
    ]
    optimizers: list[torch.optim.Optimizer]
    if config.optimizer == "lars":
        optimizers = [LARS(groups, lr=config.lr)]
    elif config.optimizer == "muon":
        # Orthogonalising a wide projector costs as much as the encoder's whole backward pass and gains nothing
        # (LOG.md), so Muon gets the convolution kernels and AdamW the rest.
        kernels = [p for p in matrices if p.ndim > 2]
        groups = [
            {"params": [p for p in matrices if p.ndim == 2], "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizers = [torch.optim.AdamW(groups, lr=config.lr)]
        if kernels:
            optimizers.insert(0, Muon(kernels, lr=config.muon_lr, weight_decay=config.weight_decay))
    else:
        for group in groups:
            group.pop("adapt", None)
        kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
        optimizers = [kind(groups, lr=config.lr, betas=(0.9, 0.999))]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_lr(optimizers: list[torch.optim.Optimizer], factor: float) -> float:
    """Scale every group's learning rate to ``factor`` times its peak; return the first group's."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
    return float(optimizers[0].param_groups[0]["lr"])
