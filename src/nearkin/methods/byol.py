"""BYOL: predict a slowly moving copy's projection of the other view.

Grill et al.: "Bootstrap Your Own Latent", NeurIPS 2020, equations 1 to 3. With online prediction q(z) and target
projection z' (both to unit length), symmetric in the two views:

    loss = |q(z1) - z2'|^2 + |q(z2) - z1'|^2 = 2 (1 - cos(q(z1), z2')) + 2 (1 - cos(q(z2), z1'))
    target <- tau * target + (1 - tau) * online,  tau = 1 - (1 - tau_0) * (cos(pi k / K) + 1) / 2

Deviations: the projector ends in BatchNorm without affine parameters (as for SimSiam). The target's BatchNorm uses the
batch's statistics in training, as the paper's does; its running statistics are its own.
"""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from nearkin.errors import ConfigError
from nearkin.methods.base import FitContext
from nearkin.methods.gather import check_projections
from nearkin.methods.joint import JointEmbedding, JointNet
from nearkin.methods.simsiam import PredictorNet, cosine_distance


def byol_loss(pa: Tensor, pb: Tensor, ta: Tensor, tb: Tensor) -> Tensor:
    """BYOL: each view's prediction against the target net's projection of the other. A scalar in [0, 8], float32.

    With all rows scaled to unit length, averaged over rows, no gradient reaching the targets::

        loss = |pa - tb|^2 + |pb - ta|^2 = 2 (1 - cos(pa, tb)) + 2 (1 - cos(pb, ta))

    Grill et al.: "Bootstrap Your Own Latent", NeurIPS 2020, equations 1 and 2. Moving the target is the caller's.

    Args:
        pa, pb: (N, D) floating point, the online net's predictions q(z) of both views. ta, tb: (N, D), the target net's
            projections. Row i of all comes from the same image. float64 stays float64.
    Raises:
        ConfigError: shapes that differ or are not (N, D).
    """
    check_projections("byol_loss", pa, pb, ta, tb)
    return 2 * cosine_distance(pa, tb) + 2 * cosine_distance(pb, ta)


class BYOLNet(PredictorNet):
    """PredictorNet with a target: a copy of encoder and projector that no gradient reaches."""

    def __init__(self, encoder_name: str, widths: tuple[int, ...], image_size: int, hidden: int) -> None:
        super().__init__(encoder_name, widths, image_size, hidden)
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> the target's projections (B, P)."""
        out: Tensor = self.target_projector(self.target_encoder(x))
        return out

    @torch.no_grad()
    def move_target(self, tau: float) -> None:
        """One step of the moving average of all parameters."""
        pairs = ((self.encoder, self.target_encoder), (self.projector, self.target_projector))
        for online, target in pairs:
            for a, b in zip(online.parameters(), target.parameters(), strict=True):
                b.lerp_(a, 1 - tau)


class BYOLMethod(JointEmbedding):
    """BYOL. Settings: those of JointEmbedding and of training, predictor_hidden, and tau (start, in [0, 1))."""

    most_views = 2
    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults | {"predictor_hidden": 1024, "tau": 0.99}

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        super().__init__(settings, image_shape)
        if not 0 <= self.settings["tau"] < 1:
            raise ConfigError(f"tau is {self.settings['tau']}; it must lie in [0, 1).")
        self._steps = 1

    def make_net(self) -> JointNet:
        s = self.settings
        return BYOLNet(s["encoder"], s["projector"], self.image_size, s["predictor_hidden"])

    def prepare(self, context: FitContext) -> None:
        self._steps = max(1, self.config.epochs * (len(context.splits.train) // self.config.batch_size))

    def tau(self, step: int) -> float:
        """The moving average's factor after ``step`` (0-based)."""
        start: float = self.settings["tau"]
        return 1 - (1 - start) * (math.cos(math.pi * step / self._steps) + 1) / 2

    def loss_of_views(
        self, views: list[Tensor], rng: torch.Generator, rows: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        assert isinstance(self.net, BYOLNet)
        x = torch.cat(views[:2]).contiguous(memory_format=torch.channels_last)
        with self.fabric.autocast():
            z = self.net(x)
            p1, p2 = self.net.predictor(z).chunk(2)
            t1, t2 = self.net.target(x).chunk(2)
        loss = byol_loss(p1, p2, t1, t2)
        return loss, {"prediction": loss.detach()}, list(z.chunk(2))

    def after_step(self, step: int) -> None:
        assert isinstance(self.net, BYOLNet)
        self.net.move_target(self.tau(step))
