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

    def loss_of_views(
        self, views: list[Tensor], rng: torch.Generator, rows: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        zs = self.project(views)
        return *self.loss_of_predictions(zs, rows), zs

    def loss_of_predictions(self, zs: list[Tensor], rows: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Predictions (B, D) of both views -> squared error to the codes of ``rows``, and how far the two lie apart.

        Held-out images (``rows`` None) have no codes: there the loss is how far the two lie apart.
        """
        apart = (zs[0].float() - zs[1].float()).square().mean()
        if rows is None:
            return apart, {"views_apart": apart.detach()}
        target = self._targets[rows.cpu()].to(zs[0].device)
        loss = torch.stack([(z.float() - target).square().mean() for z in zs]).mean()
        return loss, {"views_apart": apart.detach()}
