"""The encoder that LO distils from its codes: what a shared network makes of targets that were optimised one by one."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from nearkin.methods.joint import JointEmbedding
from nearkin.methods.settings import resolve


class Distilled(JointEmbedding):
    """An encoder that learns to predict given codes (N, D) of the training images from augmented views."""

    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults

    def __init__(self, settings: dict[str, Any], codes: Tensor, image_size: int) -> None:
        own = {name: settings[name] for name in settings if name in resolve(self.defaults, {})}
        own |= {"epochs": settings["distill_epochs"], "projector": (codes.shape[1],), "keep": 0}
        super().__init__(own, (3, image_size, image_size))
        std = codes.std(dim=0).clamp(min=1e-6) if len(codes) > 1 else torch.ones(codes.shape[1])
        self._targets = (codes - codes.mean(dim=0)) / std

    def make_pair(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> list[Tensor]:
        self._rows: Tensor | None = rows
        return super().make_pair(images, rows, rng)

    def held_out_pair(self, images: Tensor, rng: torch.Generator) -> list[Tensor]:
        self._rows = None
        return super().held_out_pair(images, rng)

    def views_loss(self, zs: list[Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        if self._rows is None:  # held-out images have no codes: how far two views' predictions lie apart
            apart = (zs[0].float() - zs[1].float()).square().mean()
            return apart, {"views_apart": apart.detach()}
        target = self._targets[self._rows.cpu()].to(zs[0].device)
        loss = torch.stack([(z.float() - target).square().mean() for z in zs]).mean()
        return loss, {"views_apart": (zs[0].float() - zs[1].float()).square().mean().detach()}
