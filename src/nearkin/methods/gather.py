"""What losses do before they compute: check the projections, and gather them so that statistics are the global batch's."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from nearkin.errors import ConfigError


def check_projections(loss: str, *zs: Tensor, rows: int = 1) -> None:
    """Raise ConfigError unless all ``zs`` are floating point (N, D) of one shape, N >= ``rows``. ``loss``: who asks."""
    shapes = [tuple(z.shape) for z in zs]
    if len(zs) < 2 or zs[0].ndim != 2 or len(set(shapes)) > 1:
        given = " and ".join(map(str, shapes))
        raise ConfigError(f"{loss} needs at least two views of one shape (N, D); got {given}.")
    if not all(z.is_floating_point() for z in zs):
        raise ConfigError(f"{loss} needs floating point; got {' and '.join(str(z.dtype) for z in zs)}.")
    if len(zs[0]) < rows:
        raise ConfigError(f"{loss} needs at least {rows} images in a batch; got {len(zs[0])}.")


class _AllGather(torch.autograd.Function):
    """All-gather with the exact adjoint: the backward pass sums every rank's gradient of this rank's rows."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        # A copy: autograd may have handed the same tensor to others, who must not see the sum.
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        rows = len(grad) // dist.get_world_size()
        return grad[dist.get_rank() * rows : (dist.get_rank() + 1) * rows]


def gather(x: Tensor) -> Tensor:
    """(B, D) on each of R ranks -> (R * B, D) on all, in rank order. The identity at one rank and without gradients.

    Every rank then computes the loss of the global batch, so the adjoint multiplies a rank's gradient by R,
    and DistributedDataParallel's averaging over ranks divides by R: parameter gradients equal those of one
    process on the concatenated batch. B must be equal on all ranks.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return x
    if not torch.is_grad_enabled():  # held-out losses, which rank 0 computes alone
        return x
    out: Tensor = _AllGather.apply(x)
    return out
