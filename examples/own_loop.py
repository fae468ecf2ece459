"""VICReg's loss in a training loop of one's own: any net, any views, any optimiser.

Run: python examples/own_loop.py [--steps 150]
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

from nearkin import data
from nearkin.evaluate.knn import knn_accuracy
from nearkin.losses import vicreg_loss


def view(images: torch.Tensor) -> torch.Tensor:
    """uint8 (B, 3, 32, 32) -> one random view, float: a flip, a shift and a change of brightness per image."""
    x = images.float() / 255 - 0.5
    flip = torch.rand(len(x)) < 0.5
    x[flip] = x[flip].flip(-1)
    dy, dx = torch.randint(-4, 5, (2,)).tolist()
    x = torch.roll(x, (dy, dx), dims=(2, 3))
    return x * (0.6 + 0.8 * torch.rand(len(x), 1, 1, 1))


def block(width_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width_in, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=150)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    splits = data.split(data.load("shapes", progress=False), subset=1500)
    encoder = nn.Sequential(block(3, 32), block(32, 64), block(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    projector = nn.Sequential(nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *projector.parameters()], lr=2e-3)
    images = torch.from_numpy(splits.train.images)

    def accuracy() -> float:
        """kNN accuracy on validation images, the encoder frozen, one un-augmented view."""
        encoder.eval()
        with torch.no_grad():
            parts = [encoder(torch.from_numpy(part.images).float() / 255 - 0.5) for part in (splits.train, splits.val)]
        encoder.train()
        a, b = (part.numpy() for part in parts)
        return knn_accuracy(a, splits.train.known_labels(), b, splits.val.known_labels())

    print(f"kNN accuracy before: {100 * accuracy():.1f} %")
    for step in range(steps):
        batch = images[torch.randint(len(images), (128,))]
        loss = vicreg_loss(projector(encoder(view(batch))), projector(encoder(view(batch))), invariance_weight=10.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.2f}")
    print(f"kNN accuracy after: {100 * accuracy():.1f} % (chance 12.5 %)")


if __name__ == "__main__":
    main()
