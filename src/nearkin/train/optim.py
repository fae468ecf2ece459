"""Optimisers by name, with weight decay kept off biases and normalisation parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nearkin.train.config import TrainConfig
from nearkin.train.lars import LARS
from nearkin.train.muon import Muon


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
