"""Several processes that train one net, as torchrun starts them. Everything here is a no-op for one process.

Each rank takes an equal part of every batch. Losses that need the whole batch gather it (methods/gather.py); gradients are
averaged over ranks after the backward pass, which is what DistributedDataParallel does, without wrapping the net, so that
state dictionaries have the same names at any number of ranks. BatchNorm normalises with the statistics of its own rank's
part, or with ``sync_batchnorm`` those of the whole batch (:func:`globalise`). Rank 0 alone writes: metrics, checkpoints, evaluation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from nearkin.errors import ConfigError

T = TypeVar("T")


def launched() -> int:
    """Number of processes that torchrun started for this job; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def number() -> int:
    """The rank that torchrun gave this process, known before the group is formed; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def joined() -> bool:
    """Whether the process group is formed and has several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world() -> int:
    """Number of ranks."""
    return dist.get_world_size() if joined() else 1


def rank() -> int:
    """This process's rank, from 0."""
    return dist.get_rank() if joined() else 0


@contextmanager
def group(device: str) -> Iterator[None]:
    """Join the process group that torchrun started (gloo on "cpu", NCCL on "cuda"), and leave it at the end."""
    if launched() == 1:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, me, all_ranks = next(iter(dist.rendezvous("env://")))  # type: ignore[attr-defined]
    # torchrun's store outlives a failed attempt; under the same names a restart would call the dead ranks' addresses.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"attempt-{attempt}", store)  # type: ignore[attr-defined]
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=me, world_size=all_ranks)
    try:
        yield
    finally:
        dist.destroy_process_group()


def wait() -> None:
    """Wait until every rank calls this."""
    if joined():
        dist.barrier()


@contextmanager
def lead_first() -> Iterator[None]:
    """Rank 0 runs the body first; the other ranks then find its files on disk."""
    if rank():
        wait()
    yield
    if not rank():
        wait()


def from_lead(value: T) -> T:
    """Return rank 0's value on every rank."""
    if not joined():
        return value
    box: list[Any] = [value if rank() == 0 else None]
    dist.broadcast_object_list(box, src=0)
    received: T = box[0]
    return received


def share(n: int) -> slice:
    """This rank's rows of n: parts in rank order whose lengths differ by one at most."""
    return slice(n * rank() // world(), n * (rank() + 1) // world())


def collect(mine: NDArray[Any], n: int) -> NDArray[Any]:
    """Rows (m, ...) that this rank computed for ``share(n)`` -> all n rows, on every rank."""
    if not joined():
        return mine
    most = -(-n // world())
    padded = torch.zeros((most, *mine.shape[1:]), dtype=torch.from_numpy(mine[:0]).dtype, device=_device())
    padded[: len(mine)] = torch.from_numpy(np.ascontiguousarray(mine)).to(padded.device)
    parts = [torch.empty_like(padded) for _ in range(world())]
    dist.all_gather(parts, padded)
    ends = [n * r // world() for r in range(world() + 1)]
    return np.concatenate([part[: ends[r + 1] - ends[r]].cpu().numpy() for r, part in enumerate(parts)])


def _device() -> str:
    """The device of the group's messages."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


def part(batch_size: int) -> slice:
    """This rank's places of a batch. Raises ConfigError when the ranks cannot have equal parts."""
    if batch_size % world():
        raise ConfigError(f"batch_size {batch_size} cannot be shared by {world()} ranks; use a multiple of {world()}.")
    size = batch_size // world()
    return slice(rank() * size, (rank() + 1) * size)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace every gradient by its mean over ranks, in one message."""
    if not joined():
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    if any(g.is_sparse for g in grads):
        raise ConfigError("methods with a code per image train in one process; run them without torchrun.")
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= world()
    for g, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):  # type: ignore[no-untyped-call]
        g.copy_(mean.view_as(g))


class _MeanOverRanks(torch.autograd.Function):
    """The mean of a tensor over ranks; the adjoint is the mean of the gradients, as every rank reads the result."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        out = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out)
        return out / dist.get_world_size()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        out = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out)
        return out / dist.get_world_size()


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm with the statistics of the global batch of all ranks, with exact gradients.

    (B, C) or (B, C, H, W) -> the same, normalised per channel over the B of all ranks together (equal parts).

    The variance is the mean square after centring: E[x^2] - E[x]^2 would cancel where the mean is large.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any rank from 2."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise; in training mode also update the running statistics (unbiased variance, as torch does)."""
        if not (self.training and joined()):
            return super().forward(input)
        x = input if input.dtype == torch.float64 else input.float()
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        mean: Tensor = _MeanOverRanks.apply(x.mean(dims))
        centred = x - mean.view(shape)
        var: Tensor = _MeanOverRanks.apply(centred.square().mean(dims))
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            n = x.numel() // x.shape[1] * world()
            self.num_batches_tracked += 1
            weight = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), weight)
            unbiased = var.detach() * (n / max(n - 1, 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), weight)
        out = centred * (var + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)


def globalise(net: nn.Module, device: torch.device) -> None:
    """Make every BatchNorm of ``net`` use the batch of all ranks, in place. Does nothing for one process.

    torch's SyncBatchNorm refuses CPU tensors, so a CPU gets :class:`GlobalBatchNorm` (two all-reduces per layer and pass), a
    GPU timm's conversion to torch's fused one. Names in state dictionaries stay the same.

    Raises:
        ConfigError: on a CPU, a layer that does more than BatchNorm (timm's BatchNormAct2d).
    """
    if not joined():
        return
    from timm.layers import convert_sync_batchnorm

    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if not isinstance(child, nn.modules.batchnorm._BatchNorm):
                continue
            if device.type == "cuda":
                setattr(parent, name, convert_sync_batchnorm(child))
                continue
            if type(child) not in (nn.BatchNorm1d, nn.BatchNorm2d):
                raise ConfigError(
                    f"sync_batchnorm cannot convert {type(child).__name__} on a CPU; train this encoder on GPUs, "
                    "or with sync_batchnorm=false."
                )
            new = GlobalBatchNorm(
                child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
            )
            new._parameters, new._buffers = child._parameters, child._buffers
            new.train(child.training)
            setattr(parent, name, new)
