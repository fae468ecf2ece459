"""Choice of device and precision."""

from __future__ import annotations

import functools
import logging

import torch
from lightning_fabric import Fabric
from torch import nn

from nearkin.errors import ConfigError, one_line
from nearkin.train.ranks import launched


def pick_device(name: str = "auto") -> str:
    """ "auto", "cpu" or "cuda" -> "cpu" or "cuda". Raises ConfigError when CUDA is asked for and absent."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device '{name}'. Legal: auto, cpu, cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' was asked for, but torch sees no CUDA GPU here. Use --device cpu or auto.")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


@functools.cache
def native_bf16(device: str) -> bool:
    """Whether bf16 arithmetic is native: elsewhere (CPUs without avx512_bf16 or AMX) it is slower than fp32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # torch 2.11
        return bool(torch.cpu._is_avx512_bf16_supported())
    capability = torch.cpu.get_capabilities()
    return bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))


def make_fabric(device: str, precision: str) -> Fabric:
    """A Lightning Fabric on one device of the given kind. ``precision`` as in TrainConfig."""
    device = pick_device(device)
    # Fabric would print its precision on stderr; the run's config records it already.
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    use_bf16 = precision == "bf16" or (precision == "auto" and native_bf16(device))
    # Under torchrun each process has its own GPU; otherwise use the first.
    devices: int | list[int] = [torch.cuda.current_device()] if device == "cuda" and launched() > 1 else 1
    return Fabric(accelerator=device, devices=devices, precision="bf16-mixed" if use_bf16 else "32-true")


def compile_net(net: nn.Module, device: str) -> None:
    """Let calls of ``net`` run compiled code, in place: parameters and their names stay.

    On a GPU the kernels of a pass are recorded once and replayed (CUDA graphs), so that Python does not hold the GPU up.

    Raises:
        ConfigError: compilation fails here; on a CPU it needs a C++ compiler.
    """
    try:
        torch.compile(torch.neg, dynamic=False)(torch.zeros(1, device=device))  # fail now, not inside the first step
    except Exception as error:  # compilers raise errors of any type
        raise ConfigError(
            f"compile=true failed ({one_line(error)[:200]}). On a CPU it needs a C++ compiler; compile=false does without."
        ) from error
    net.compile(dynamic=False, mode="reduce-overhead" if device == "cuda" else "default")
