"""What the settings of the `cpu` preset are worth, on training images that were held out.

    python benchmarks/settings.py [DATA] [--images 18000] [--epochs 4] [--seeds 0,1] [--only NAME,NAME]

Of train, --images are trained on, 2,000 others choose the probe's penalty and 10,000 others are what the table reads; test is
never looked at. Each row is the preset but for what its name says, at the same number of epochs (seconds stand beside), and far
shorter than the preset's own training: what helps here need not help there. Three ideas that nearkin does not have are tried,
too: averaged weights, low resolution first, and a stem that stays as it starts.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timing import parser, use_threads
from torch import Tensor, nn

from nearkin.data import ImageSet, Splits, load
from nearkin.evaluate.knn import knn_accuracy
from nearkin.evaluate.linear import linear_probe
from nearkin.methods import FitContext
from nearkin.methods.vicreg import VICRegMethod
from nearkin.study.presets import get_preset
from nearkin.train.record import MetricsLog


class Averaged(VICRegMethod):
    """An exponential moving average of weights and statistics, over the last 100 steps or tenth of training, is what embeds."""

    def after_step(self, step: int) -> None:
        state = self.net.state_dict()
        if step == 0:
            self.average = {name: value.clone() for name, value in state.items()}
        for name, value in state.items():
            if value.is_floating_point():
                self.average[name].lerp_(value, max(0.01, 10 / (10 + step)))

    def finish(self) -> None:
        """Take the average."""
        self.net.load_state_dict(self.average)


class Growing(VICRegMethod):
    """Views of three quarters of the side in the first half of training."""

    small = True

    def before_epoch(self, epoch: int) -> None:
        super().before_epoch(epoch)
        self.small = epoch < self.config.epochs // 2

    def make_pair(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> list[Tensor]:
        views = super().make_pair(images, rows, rng)
        if not self.small:
            return views
        side = 3 * images.shape[-1] // 4
        return [nn.functional.interpolate(v, size=(side, side), mode="bilinear", antialias=True) for v in views]


class FixedStem(VICRegMethod):
    """Kernels of the stem stay what they are at the start."""

    def prepare(self, context: FitContext) -> None:
        super().prepare(context)
        stem = next(module for module in self.joint.encoder.modules() if isinstance(module, nn.Conv2d))
        stem.weight.requires_grad_(False)


@dataclass(frozen=True)
class Try:
    """Settings that differ from the preset's; epochs: share of the others'."""

    settings: dict[str, Any] = field(default_factory=dict)
    method: type[VICRegMethod] = VICRegMethod
    epochs: float = 1.0


TRIES: dict[str, Try] = {
    "preset": Try(),
    "adamw": Try({"optimizer": "adamw"}),
    "lars-lr-0.3-decay-1e-4": Try({"optimizer": "lars", "lr": 0.3, "weight_decay": 1e-4}),
    "muon-lr-0.01": Try({"muon_lr": 0.01}),
    "muon-lr-0.04": Try({"muon_lr": 0.04}),
    "batch-128": Try({"batch_size": 128}),
    "batch-512": Try({"batch_size": 512}),
    "projector-512": Try({"projector": (512, 512)}),
    "projector-2048": Try({"projector": (2048, 2048)}),
    "projector-3-layers": Try({"projector": (1024, 1024, 1024)}),
    "constant-lr": Try({"schedule": "constant"}),
    "views-with-blur": Try({"recipe": "reference"}),
    "views-of-solo-learn": Try({"recipe": "cifar"}),
    "4-views-half-the-epochs": Try({"n_views": 4}, epochs=0.5),
    "half-the-net": Try({"encoder": "fast-tiny"}),
    "averaged-weights": Try(method=Averaged),
    "small-images-first": Try(method=Growing),
    "stem-of-axes": Try({"stem": "axes"}),
    "stem-of-axes-fixed": Try({"stem": "axes"}, method=FixedStem),
    "2048-features": Try({"encoder": "fast-2048"}),
    "2048-features-stem-of-axes-fixed": Try({"encoder": "fast-2048", "stem": "axes"}, method=FixedStem),
    "4096-features-stem-of-axes": Try({"encoder": "fast-4096", "stem": "axes"}),
    "the-same-invariance-5": Try({"encoder": "fast-4096", "stem": "axes", "invariance_weight": 5.0}),
    "the-same-batch-128": Try({"encoder": "fast-4096", "stem": "axes", "batch_size": 128}),
    "the-same-projector-2048": Try({"encoder": "fast-4096", "stem": "axes", "projector": (2048, 2048)}),
}


def splits_of(train: ImageSet, sizes: tuple[int, int, int]) -> Splits:
    """Parts of train alone; what is called test here is the part that the table reads."""
    order, ends = np.random.default_rng(0).permutation(len(train)), np.cumsum(sizes)
    return Splits(*(train.take(np.sort(rows)) for rows in np.split(order[: ends[-1]], ends[:-1])))


def measured(name: str, splits: Splits, settings: dict[str, Any], seed: int) -> tuple[float, float, float]:
    """Linear probe and kNN on held-out images, in [0, 1], and the seconds of training."""
    chosen = TRIES[name]
    own = settings | chosen.settings | {"epochs": max(1, round(settings["epochs"] * chosen.epochs))}
    shape = splits.train.images.shape[1:]
    method = chosen.method(own, (shape[0], shape[1], shape[2]))
    with tempfile.TemporaryDirectory() as folder:
        method.fit(FitContext(splits, Path(folder) / "run", seed=seed, device="cpu", progress=False))
        seconds = MetricsLog(Path(folder) / "run" / "metrics.jsonl").read(kind="epoch")[-1]["seconds"]
    if isinstance(method, Averaged):
        method.finish()
    layer = method.primary_layer

    def part(items: ImageSet) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return method.embed(items.images, (layer,))[layer], items.known_labels()

    train, val, read = part(splits.train), part(splits.val), part(splits.test)
    found = linear_probe(train, val, read, len(splits.train.classes))
    return found.accuracy, knn_accuracy(*train, *read), seconds


def main() -> None:
    options = parser("What the settings of the cpu preset are worth, on held-out training images.")
    options.add_argument("data", nargs="?", default="cifar10")
    options.add_argument("--images", type=int, default=18_000)
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--seeds", default="0")
    options.add_argument("--only", default="", help=", ".join(TRIES))
    a = options.parse_args()
    names = [name for name in a.only.split(",") if name] or list(TRIES)
    if unknown := [name for name in names if name not in TRIES]:
        options.error(f"--only: no {', '.join(unknown)}; there are {', '.join(TRIES)}.")
    sizes = (a.images, 2000, 10_000)
    if a.quick:
        a.data, a.epochs, sizes = "shapes", 2, (300, 100, 200)
        names = names if a.only else [name for name in names if TRIES[name].method is not VICRegMethod]
    use_threads(a.threads)
    data = load(a.data, progress=False)
    splits = splits_of(data.train, sizes)
    settings = dict(get_preset("cpu").settings) | {"epochs": a.epochs, "eval_every": a.epochs, "keep": 0}
    if a.quick:
        settings |= {"encoder": "fast-mini", "batch_size": 128}
    seeds = [int(seed) for seed in a.seeds.split(",")]
    print(f"task       {data.name}, {len(splits.train):,} images, {a.epochs} epochs, read on {len(splits.test):,}")
    print(f"{'':34}{'linear %':>10}{'kNN(20) %':>10}{'seconds':>9}{'ratio to the first':>20}  linear % of each seed")
    first = 0.0
    for name in names:
        every = np.array([measured(name, splits, settings, seed) for seed in seeds])
        linear, near, seconds = every.mean(axis=0)
        first = first or float(linear)
        single = ", ".join(f"{100 * value:.2f}" for value in every[:, 0])
        print(
            f"{name:34}{100 * linear:10.2f}{100 * near:10.2f}{seconds:9.0f}{linear / first:20.3f}  {single}", flush=True
        )


if __name__ == "__main__":
    main()
