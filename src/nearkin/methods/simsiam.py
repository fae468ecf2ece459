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
from torch import Tensor

from nearkin.methods.joint import JointEmbedding, JointNet
from nearkin.methods.predictor import PredictorNet, cosine_distance


class SimSiam(JointEmbedding):
    """SimSiam. Settings: those of JointEmbedding and of training, and predictor_hidden (a bottleneck)."""

    most_views = 2
    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults | {"predictor_hidden": 256}

    def make_net(self) -> JointNet:
        s = self.settings
        return PredictorNet(s["encoder"], s["projector"], self.image_size, s["predictor_hidden"])

    def views_loss(self, zs: list[Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(self.net, PredictorNet)
        with self._fabric.autocast():
            p1, p2 = self.net.predictor(torch.cat(zs[:2])).chunk(2)
        loss = (cosine_distance(p1, zs[1]) + cosine_distance(p2, zs[0])) / 2
        return loss, {"prediction": loss.detach()}
