"""Images per second of VICReg training: nearkin's loop against a loop as lightly's documentation shows it, in one run.

    python benchmarks/training.py [--batch 256] [--steps 6] [--workers 2]

Both train the same ResNet-18 (64 wide, 3 x 3 stem) with the same projector on images of 32 x 32 from memory, on all cores.
The documented loop: lightly's VICRegTransform image by image in a DataLoader with workers, two forward passes, float32, SGD.
nearkin's: its own training loop with the preset's settings, bf16 where the hardware has it. Without lightly (pip install
'nearkin[benchmarks]') the same loop runs with torchvision's v2 transforms and nearkin's loss. Seconds are counted from the
end of the first step on. Below: the share of this machine's own matrix product that the net reaches (forward and backward
counted as three forward passes), and the fast net of the preset "cpu" in the same loop. Where there is a C++ compiler, both nets
train with compile=true, too; the first step, which compiles, does not count.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timing import gemm_peak, parser, use_threads
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from views import torchvision_transform

from nearkin.augment import get_recipe
from nearkin.losses import vicreg_loss
from nearkin.methods import create
from nearkin.methods.joint import JointNet
from nearkin.nets import create_encoder
from nearkin.study.presets import get_preset
from nearkin.train.device import make_fabric, native_bf16
from nearkin.train.loop import train
from nearkin.train.record import MetricsLog

SIDE = 32


class Views(Dataset[tuple[Tensor, Tensor]]):
    """Two views of each image, made one image at a time."""

    def __init__(self, images: NDArray[np.uint8], two_views: Callable[[NDArray[np.uint8]], list[Tensor]]) -> None:
        self.images, self.two_views = images, two_views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        first, second = self.two_views(self.images[row])
        return first, second


class LightlyViews:
    """lightly's transform on a Pillow image."""

    def __init__(self) -> None:
        from lightly.transforms.vicreg_transform import VICRegTransform

        self.transform = VICRegTransform(input_size=SIDE)

    def __call__(self, image: NDArray[np.uint8]) -> list[Tensor]:
        from PIL import Image

        views: list[Tensor] = self.transform(Image.fromarray(image.transpose(1, 2, 0)))
        return views


class TorchvisionViews:
    """The recipe "reference" by torchvision's v2 transforms."""

    def __init__(self) -> None:
        self.transform = torchvision_transform(get_recipe("reference"), SIDE)

    def __call__(self, image: NDArray[np.uint8]) -> list[Tensor]:
        return [self.transform(torch.from_numpy(image)) for _ in range(2)]


def documented(images: NDArray[np.uint8], widths: tuple[int, ...], batch: int, workers: int) -> tuple[float, str]:
    """Images per second of the documented loop, and whose parts it used."""
    two_views: Callable[[NDArray[np.uint8]], list[Tensor]]
    criterion: Callable[[Tensor, Tensor], Tensor]
    if importlib.util.find_spec("lightly") is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside of its imports
            from lightly.loss import VICRegLoss
        criterion, two_views, whose = VICRegLoss(), LightlyViews(), "lightly"
    else:
        criterion, two_views, whose = vicreg_loss, TorchvisionViews(), "torchvision, by hand"
    net = JointNet("resnet18-small", widths, SIDE)
    loader = DataLoader(Views(images, two_views), batch, shuffle=True, drop_last=True, num_workers=workers)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.06)
    began, counted = 0.0, 0
    for step, (first, second) in enumerate(loader):
        loss = criterion(net(first), net(second))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == 0:
            began = time.perf_counter()
        else:
            counted += len(first)
    return counted / (time.perf_counter() - began), whose


def ours(images: NDArray[np.uint8], settings: dict[str, Any], batch: int) -> float:
    """Images per second of nearkin's loop."""
    method = create("vicreg", settings | {"batch_size": batch, "epochs": 1, "keep": 0}, (3, SIDE, SIDE))
    fabric = make_fabric("cpu", method.config.precision)
    method.fabric = fabric  # what fit() does before it calls the loop
    with tempfile.TemporaryDirectory() as folder:
        train(method, images, method.config, Path(folder), seed=0, fabric=fabric, progress=False)
        lines = MetricsLog(Path(folder) / "metrics.jsonl").read(kind="step")
    return batch * (len(lines) - 1) / (lines[-1]["seconds"] - lines[0]["seconds"])


def flops(encoder: nn.Module) -> float:
    """Floating-point operations of one training step per image: two views, forward and backward."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder.eval()(torch.zeros(1, 3, SIDE, SIDE))
    return 2 * 3 * float(counter.get_total_flops())


def main() -> None:
    options = parser("VICReg training: nearkin's loop against the documented lightly loop.")
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--steps", type=int, default=6, help="steps measured, after one that is not (default 6)")
    options.add_argument("--workers", type=int, default=2, help="of the documented loop's DataLoader (default 2)")
    a = options.parse_args()
    if a.quick:
        a.batch, a.steps, a.workers = 8, 1, 0
    use_threads(a.threads)
    images = np.random.default_rng(0).integers(0, 256, (a.batch * (a.steps + 1), 3, SIDE, SIDE), dtype=np.uint8)
    reference, cpu = get_preset("reference").settings, get_preset("cpu").settings
    slow, whose = documented(images, reference["projector"], a.batch, a.workers)
    same = ours(images, reference | {"encoder": "resnet18-small"}, a.batch)
    fast = ours(np.concatenate([images] * (1 if a.quick else 5)), cpu, a.batch)
    plain, compiled = {"ResNet-18": same, "fast net": fast}, {}
    if shutil.which("g++") is not None and not a.quick:
        compiled["ResNet-18"] = ours(images, reference | {"encoder": "resnet18-small", "compile": True}, a.batch)
        compiled["fast net"] = ours(np.concatenate([images] * 5), cpu | {"compile": True}, a.batch)
    precision = "bf16" if native_bf16("cpu") else "fp32"
    peak = gemm_peak(torch.bfloat16 if precision == "bf16" else torch.float32, 256 if a.quick else 2048)
    print(f"task       VICReg, two views, {SIDE} x {SIDE}, batch {a.batch}, {a.steps} steps, nearkin in {precision}")
    print(f"documented loop, ResNet-18     {slow:9.1f} images/s  ({whose}, fp32, {a.workers} workers)")
    print(f"nearkin, ResNet-18             {same:9.1f} images/s")
    print(f"nearkin, fast net              {fast:9.1f} images/s")
    for name, speed in compiled.items():
        print(f"compiled, {name:<12} {speed:17.1f} images/s  (ratio to not compiled {speed / plain[name]:.2f})")
    print(f"ratio, same net                {same / slow:9.2f}  (times faster)")
    print(f"ratio, fast net                {fast / slow:9.2f}")
    print(f"matrix product                 {peak / 1e9:9.0f} GFLOP/s in {precision}")
    for name, encoder, speed in (("ResNet-18", "resnet18-small", same), ("fast net", "fast", fast)):
        share = speed * flops(create_encoder(encoder, SIDE)) / peak
        print(f"share of it, {name:<10}        {share:9.2f}  (encoder alone)")


if __name__ == "__main__":
    main()
