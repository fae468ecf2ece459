"""Settings of the training loop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nearkin.errors import ConfigError, unknown

OPTIMIZERS = ("adam", "adamw", "lars", "muon")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("auto", "fp32", "bf16")
# With 21 steps of warm-up the covariance term of a small run went from 2 to 81 in a dozen steps at the peak learning rate,
# and the run never made up for it; with 70 it passed unharmed.
WARMUP_STEPS = 100
WARMUP_SHARE = 0.2


@dataclass(frozen=True)
class TrainConfig:
    """How to train, whatever the method.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step (each gives several views); the last incomplete batch is dropped.
        optimizer: "adam" (weight decay as L2 penalty), "adamw", "lars", or "muon" (for convolution kernels; AdamW for the rest).
        lr: peak learning rate. For "muon" it is that of the AdamW part; ``muon_lr`` is that of the kernels.
        weight_decay: not applied to biases and normalisation parameters.
        warmup_epochs: linear warm-up, may be a fraction; 0 for none. A warm-up is never shorter than 100 steps or, if
            that is less, a fifth of training: what it protects from is counted in steps, and a small set has few per epoch.
        schedule: "cosine" to zero, or "constant", after the warm-up.
        precision: "bf16", "fp32" or "auto" (bf16 where the hardware has it natively).
        compile: run views and net as compiled code (torch.compile), on a GPU as CUDA graphs. Compiling takes a minute or so, and
            on a CPU a C++ compiler; results differ by rounding.
        sync_batchnorm: with several ranks, BatchNorm over the whole batch instead of each rank's part.
        eval_every: epochs between evaluations on held-out data (the last epoch always is evaluated).
        keep: how many evenly spaced weight snapshots to keep until the test losses are computed.
        checkpoint_seconds: how often, besides each epoch's end, the full state is saved.
    """

    epochs: int = 10
    batch_size: int = 256
    optimizer: str = "adamw"
    lr: float = 2e-3
    muon_lr: float = 0.02
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    schedule: str = "cosine"
    precision: str = "auto"
    compile: bool = False
    sync_batchnorm: bool = False
    eval_every: int = 1
    keep: int = 6
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, value, legal in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in legal:
                raise unknown(name, str(value), legal)
        for name in ("epochs", "batch_size", "lr", "muon_lr", "eval_every", "checkpoint_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be greater than 0.")
        for name in ("weight_decay", "warmup_epochs", "keep"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or greater.")

    def lr_factor(self, step: int, steps_per_epoch: int) -> float:
        """Multiplier of the peak learning rate at ``step`` (0-based): linear warm-up, then the schedule."""
        total, warmup = self.epochs * steps_per_epoch, self.warmup_epochs * steps_per_epoch
        if warmup:
            warmup = max(warmup, min(WARMUP_STEPS, WARMUP_SHARE * total))
        if step < warmup:
            return (step + 1) / max(1.0, warmup)
        if self.schedule == "constant":
            return 1.0
        progress = (step - warmup) / max(1.0, total - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
