"""A supervised encoder: the ceiling that methods without labels are measured against.

Cross-entropy on one augmented view per image, with the same encoder, views and training settings. Labels enter here and
nowhere else in training; the name and the report say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nearkin.augment import make_views
from nearkin.errors import DataError
from nearkin.folders import WEIGHTS
from nearkin.methods.base import FitContext
from nearkin.methods.joint import JointEmbedding, JointNet
from nearkin.train.checkpoint import load_tensors


class SupervisedMethod(JointEmbedding):
    """Settings: those of JointEmbedding (the projector is replaced by one linear layer) and of training."""

    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults
    _classes = 2

    def make_net(self) -> JointNet:
        net = JointNet(self.settings["encoder"], (self._classes,), self.image_size)
        net.projector = nn.Sequential(nn.Linear(net.encoder.out_features, self._classes))
        return net

    @property
    def layers(self) -> tuple[str, ...]:
        """The encoder's layers; logits are no embedding."""
        return self.joint.encoder.layer_names

    def prepare(self, context: FitContext) -> None:
        labels = context.splits.train.labels
        if labels is None or (labels < 0).any():
            raise DataError("method 'supervised' needs a label for every training image.")
        self._labels = torch.from_numpy(labels).to(self.fabric.device)

    def fit(self, context: FitContext) -> None:
        """Train; see :meth:`JointEmbedding.fit`."""
        self._classes = max(2, len(context.splits.train.classes))
        self._build(seed=0)
        super().fit(context)

    def load(self, folder: Path, device: str = "auto", runs: Mapping[str, Path] | None = None) -> None:
        """Load the weights; the number of classes is read off them."""
        self._classes = len(load_tensors(folder / WEIGHTS)[0]["projector.0.bias"])
        self._build(seed=0)
        super().load(folder, device)

    def make_pair(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> list[Tensor]:
        return make_views(images, self.recipe, rng, n_views=1)

    def held_out_pair(self, images: Tensor, rng: torch.Generator) -> list[Tensor]:
        return make_views(images, self.recipe, rng, n_views=2)

    def loss_of_views(
        self, views: list[Tensor], rng: torch.Generator, rows: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        zs = self.project(views)
        logits = zs[0].float()
        if rows is None:  # held-out labels stay out of training: the logged loss is the predictions' entropy
            p = torch.softmax(logits, dim=1)
            entropy = -(p * torch.log(p + 1e-12)).sum(dim=1).mean()
            return entropy, {"prediction_entropy": entropy.detach()}, zs
        loss = nn.functional.cross_entropy(logits, self._labels[rows])
        return loss, {"cross_entropy": loss.detach()}, zs
