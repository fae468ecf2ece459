"""BatchNorm with the statistics of the global batch of all ranks, with exact gradients.

torch's SyncBatchNorm refuses CPU tensors, so a CPU gets the layer below (two all-reduces per layer and pass), a GPU
timm's conversion to torch's fused one. Names in state dictionaries stay the same.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn

from nearkin.errors import ConfigError
from nearkin.train import ranks


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
    """(B, C) or (B, C, H, W) -> the same, normalised per channel over the B of all ranks together (equal parts).

    Mean first, then the mean square of what is left: the difference of two large numbers would lose what is small.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any rank from 2."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise; in training mode also update the running statistics (unbiased variance, as torch does)."""
        if not (self.training and ranks.joined()):
            return super().forward(input)
        x = input if input.dtype == torch.float64 else input.float()
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        mean: Tensor = _MeanOverRanks.apply(x.mean(dims))
        centred = x - mean.view(shape)
        var: Tensor = _MeanOverRanks.apply(centred.square().mean(dims))
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            n = x.numel() // x.shape[1] * ranks.world()
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
    """Let every BatchNorm of ``net`` see the batch of all ranks, in place. Nothing changes for one process.

    Raises:
        ConfigError: on a CPU, a layer that does more than BatchNorm (timm's BatchNormAct2d).
    """
    if not ranks.joined():
        return
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
