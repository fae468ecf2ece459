"""Where a training step goes: views, forward, loss, backward, optimiser; and the model FLOP utilisation. One run.

    python benchmarks/steps.py [--batch 256] [--steps 10] [--device auto]

Steps of VICReg as nearkin's loop does them, on images of 32 x 32 from memory, with the settings of the preset "cpu" (the fast
net) and of "reference" with a bare ResNet-18; after two that are not counted. A GPU is waited for after every part, so that
the parts add up there too, to somewhat more than a step in the loop takes. Utilisation: operations of encoder and projector
(backward counted as two forward passes, nothing for the rest) over the whole step, against a square matrix product of this
machine in the same precision.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from timing import gemm_peak, parser, use_threads
from torch.utils.flop_counter import FlopCounterMode

from nearkin.methods import create
from nearkin.study.presets import get_preset
from nearkin.train.device import make_fabric, native_bf16, pick_device

SIDE = 32
PARTS = ("views", "forward", "loss", "backward", "optimiser")
_WARM_UP = 2


def measure(settings: dict[str, Any], batch: int, steps: int, device: str) -> tuple[dict[str, float], float]:
    """Mean seconds of each part of a step, and the step's floating-point operations."""
    method = create("vicreg", settings | {"batch_size": batch}, (3, SIDE, SIDE))
    fabric = make_fabric(device, method.config.precision)
    method.fabric = fabric  # what fit() does before it calls the loop
    net = method.net.to(fabric.device, memory_format=torch.channels_last)
    net.train()
    optimizers = method.optimizers()
    numbers = np.random.default_rng(0).integers(0, 256, (batch, 3, SIDE, SIDE), dtype=np.uint8)
    images, rows = torch.from_numpy(numbers).to(fabric.device), torch.arange(batch, device=fabric.device)
    rng = torch.Generator(fabric.device).manual_seed(0)
    spent = dict.fromkeys(PARTS, 0.0)
    clock = 0.0

    def lap(part: str, count: bool) -> None:
        nonlocal clock
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        spent[part] += (now - clock) * count
        clock = now

    for step in range(_WARM_UP + steps):
        count = step >= _WARM_UP
        clock = time.perf_counter()
        views = method.make_pair(images, rows, rng)
        lap("views", count)
        with fabric.autocast():
            z = net(torch.cat(views).contiguous(memory_format=torch.channels_last))
        lap("forward", count)
        loss, _ = method.views_loss(list(z.chunk(len(views))), rng)
        lap("loss", count)
        net.zero_grad()
        fabric.backward(loss)
        lap("backward", count)
        for optimizer in optimizers:
            optimizer.step()
        lap("optimiser", count)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, 3, SIDE, SIDE, device=fabric.device))
    flops = 3.0 * counter.get_total_flops() * len(views) * batch
    return {part: seconds / steps for part, seconds in spent.items()}, flops


def main() -> None:
    options = parser("Shares of a training step, and model FLOP utilisation.")
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--steps", type=int, default=10, help="steps measured (default 10)")
    options.add_argument("--device", default="auto")
    a = options.parse_args()
    if a.quick:
        a.batch, a.steps = 8, 1
    use_threads(a.threads)
    device = pick_device(a.device)
    kind = torch.bfloat16 if native_bf16(device) else torch.float32
    where = torch.cuda.get_device_name() if device == "cuda" else "this processor"
    peak = gemm_peak(kind, 256 if a.quick else 8192 if device == "cuda" else 2048, device=device)
    print(f"task       VICReg, two views, {SIDE} x {SIDE}, batch {a.batch}, {a.steps} steps, on {where}")
    print(
        f"matrix product   {peak / 1e9:,.0f} GFLOP/s in {str(kind).removeprefix('torch.')}; FLOP util. is the ratio to it"
    )
    print(
        f"{'':<11}" + "".join(f"{part:>11}" for part in PARTS) + f"{'ms a step':>11}{'images/s':>10}{'FLOP util.':>12}"
    )
    nets = {"fast net": get_preset("cpu").settings, "ResNet-18": get_preset("reference").settings}
    nets["ResNet-18"] = nets["ResNet-18"] | {"encoder": "resnet18-small"}
    for name, settings in nets.items():
        spent, flops = measure(settings, a.batch, a.steps, device)
        whole = sum(spent.values())
        line = "".join(f"{100 * spent[part] / whole:9.1f} %" for part in PARTS)
        print(f"{name:<11}{line}{1e3 * whole:11.1f}{a.batch / whole:10,.0f}{flops / whole / peak:12.2f}")


if __name__ == "__main__":
    main()
