"""Gathering a batch across ranks so that its statistics, and their gradients, are those of the global batch."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


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
