"""What BYOL and SimSiam share: a predictor on the projections, and the negative cosine to a target without gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nearkin.methods.joint import JointNet


def predictor(width: int, hidden: int) -> nn.Sequential:
    """Linear-BatchNorm-ReLU-Linear, (B, width) -> (B, width)."""
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width)
    )


def cosine_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - cos(p_i, t_i) over rows (N, D), float32; no gradient reaches ``target``."""
    with torch.autocast(prediction.device.type, enabled=False):
        p, t = (z.to(torch.promote_types(z.dtype, torch.float32)) for z in (prediction, target.detach()))
        return (1 - torch.nn.functional.cosine_similarity(p, t, dim=1)).mean()


class PredictorNet(JointNet):
    """JointNet with a predictor. ``forward`` gives projections; their BatchNorm without affine is part of them."""

    def __init__(self, encoder_name: str, widths: tuple[int, ...], image_size: int, hidden: int) -> None:
        super().__init__(encoder_name, widths, image_size)
        self.projector.append(nn.BatchNorm1d(widths[-1], affine=False))
        self.predictor = predictor(widths[-1], hidden)
