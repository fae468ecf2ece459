"""SimSiam: predict one view's projection from the other's; no gradient through the target.

Chen, He: "Exploring Simple Siamese Representation Learning", CVPR 2021, equations 1 to 4. With projections z, predictions
p = h(z) and D(p, z) = -cos(p, stopgrad(z)):

    loss = D(p1, z2) / 2 + D(p2, z1) / 2

Deviations: 1 is added, so that the loss lies in [0, 2]. The projector is the shared one followed by BatchNorm without
affine parameters; as in the paper that BatchNorm matters. Both views share one pass.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nearkin.methods.gather import check_projections
from nearkin.methods.joint import JointEmbedding, JointNet


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


def simsiam_loss(pa: Tensor, pb: Tensor, za: Tensor, zb: Tensor) -> Tensor:
    """SimSiam: each view's prediction against the other's projection. A scalar in [0, 2], float32 (float64 stays).

    With D(p, z) = 1 - cos(p_i, z_i), averaged over rows, no gradient reaching z::

        loss = D(pa, zb) / 2 + D(pb, za) / 2

    Chen, He: "Exploring Simple Siamese Representation Learning", CVPR 2021, equations 1 to 4, where the 1 is left out.

    Args:
        pa, pb: (N, D) floating point, predictions h(z) of both views. za, zb: (N, D), their projections. Row i of all comes
            from the same image.
    Raises:
        ConfigError: shapes that differ or are not (N, D).
    """
    check_projections("simsiam_loss", pa, pb, za, zb)
    return (cosine_distance(pa, zb) + cosine_distance(pb, za)) / 2


class PredictorNet(JointNet):
    """JointNet with a predictor. ``forward`` gives projections; their BatchNorm without affine is part of them."""

    def __init__(self, encoder_name: str, widths: tuple[int, ...], image_size: int, hidden: int) -> None:
        super().__init__(encoder_name, widths, image_size)
        self.projector.append(nn.BatchNorm1d(widths[-1], affine=False))
        self.predictor = predictor(widths[-1], hidden)


class SimSiamMethod(JointEmbedding):
    """SimSiam. Settings: those of JointEmbedding and of training, and predictor_hidden (a bottleneck)."""

    most_views = 2
    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults | {"predictor_hidden": 256}

    def make_net(self) -> JointNet:
        s = self.settings
        return PredictorNet(s["encoder"], s["projector"], self.image_size, s["predictor_hidden"])

    def views_loss(self, zs: list[Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(self.net, PredictorNet)
        with self.fabric.autocast():
            p1, p2 = self.net.predictor(torch.cat(zs[:2])).chunk(2)
        loss = simsiam_loss(p1, p2, zs[0], zs[1])
        return loss, {"prediction": loss.detach()}
