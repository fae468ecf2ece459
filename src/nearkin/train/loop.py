"""The training loop. It knows a method only as a Trainable, and images only as uint8 without labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from nearkin.errors import ConfigError, TrainingError, reading
from nearkin.folders import CHECKPOINT, METRICS, SNAPSHOTS, WEIGHTS
from nearkin.train import ranks
from nearkin.train.batches import Batches
from nearkin.train.checkpoint import load_tensors, optimizer_tensors, restore_optimizers, save_tensors
from nearkin.train.config import TrainConfig
from nearkin.train.device import compile_net
from nearkin.train.optim import set_lr
from nearkin.train.ranks import globalise
from nearkin.train.record import MetricsLog, UnwrittenLog, event_files
from nearkin.train.seeding import epoch_order, generator

ADVICE = "Try a lower lr, a longer warm-up, or precision fp32."


class Trainable(Protocol):
    """What the loop asks of a method."""

    @property
    def net(self) -> nn.Module:
        """What is trained; its state is what a checkpoint holds."""

    def loss(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """uint8 (B, 3, H, W), int64 (B,) rows in the set -> scalar loss with gradient, and detached scalars to log."""

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimisers, each group with its "peak_lr"."""

    def before_epoch(self, epoch: int) -> None:
        """Called on every rank before the first step of each epoch (0-based), and after a resume inside one."""

    def after_step(self, step: int) -> None:
        """Called after each optimiser step (moving averages and the like)."""


class _StepBuffer:
    """Buffers per-step scalars on the device: one synchronisation per flush instead of one per step."""

    def __init__(self, record: MetricsLog) -> None:
        self.record = record
        self.pending: list[tuple[dict[str, Any], dict[str, Tensor]]] = []

    def add(self, line: dict[str, Any], scalars: dict[str, Tensor]) -> None:
        self.pending.append((line, scalars))

    def flush(self) -> None:
        """Write the buffered lines. Raises TrainingError at the first non-finite loss."""
        if not self.pending:
            return
        names = list(self.pending[0][1])
        values = torch.stack([torch.stack([s[name].float() for name in names]) for _, s in self.pending]).tolist()
        lines = []
        bad: int | None = None
        for (line, _), row in zip(self.pending, values, strict=True):
            lines.append(line | dict(zip(names, row, strict=True)))
            if not np.isfinite(row[names.index("loss")]):
                bad = line["step"]
                break
        self.pending.clear()
        if bad is not None:
            self.record.append(*lines[:-1])
            raise _diverged("loss", bad, self.record.path.parent)
        self.record.append(*lines)


def _diverged(what: str, step: int, run_dir: Path) -> TrainingError:
    kept = "the last good checkpoint is kept" if (run_dir / CHECKPOINT).exists() else "no checkpoint was saved before"
    return TrainingError(f"{what} became non-finite at step {step}; {kept}. {ADVICE}")


def check_batch(batch_size: int, n: int) -> None:
    """Raise ConfigError for batches larger than the training set."""
    if batch_size > n:
        usual = 2 ** (max(n // 5, 4).bit_length() - 1)
        raise ConfigError(
            f"batch_size {batch_size} is larger than the {n} training images; use at most {n}, e.g. --set batch_size={usual}."
        )


def _check_weights(net: nn.Module, step: int, run_dir: Path) -> None:
    """Raise TrainingError where weights are not finite. A finite loss says nothing about the weights after its update."""
    values = [t for t in net.state_dict().values() if t.is_floating_point()]
    if values and not torch.stack([t.isfinite().all() for t in values]).all():
        raise _diverged("weights", step, run_dir)


def train(
    trainable: Trainable,
    images: NDArray[np.uint8],
    config: TrainConfig,
    run_dir: Path,
    *,
    seed: int,
    fabric: Fabric,
    on_eval: Callable[[int, float], None] | None = None,
    progress: bool = True,
    title: str = "training",
    tensorboard: bool = False,
) -> None:
    """Train until ``config.epochs``; continue from the checkpoint in ``run_dir`` where there is one.

    Writes metrics.jsonl, a rolling checkpoint, snapshots/epoch-NNNN.safetensors and, at the end,
    weights.safetensors (whose presence means: finished). On one machine, an interrupted and resumed run ends
    with bitwise the weights of an uninterrupted one: data order and views depend on (seed, step) alone. Under torchrun
    every rank calls this; ``config.batch_size`` is that of all ranks together, and rank 0 writes.

    Args:
        images: uint8 (N, 3, H, W); may be a memory map. No labels.
        on_eval: called as on_eval(epoch, seconds) with the net in eval mode after every ``eval_every`` epochs;
            ``seconds`` is the training time so far, evaluation excluded.
        tensorboard: also write event files (:mod:`nearkin.train.record`); needs the package.
    Raises:
        ConfigError: batch larger than the set. TrainingError: non-finite loss. OutputError: disk.
    """
    n = len(images)
    check_batch(config.batch_size, n)
    device = fabric.device
    mine, lead = ranks.part(config.batch_size), ranks.rank() == 0
    position = (ranks.rank(),) if ranks.joined() else ()  # views differ between ranks
    trainable.net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.sync_batchnorm:
        globalise(trainable.net, device)
    if config.compile:
        compile_net(trainable.net, device.type)
    optimizers = trainable.optimizers()
    parameters = [p for p in trainable.net.parameters() if p.requires_grad]
    batches = Batches(images, device)
    record = (MetricsLog if lead else UnwrittenLog)(run_dir / METRICS)
    per_epoch = n // config.batch_size
    total = config.epochs * per_epoch
    step, seconds = _resume(trainable.net, optimizers, record, run_dir)
    snapshots = _snapshot_epochs(config)
    log = _StepBuffer(record)
    trainable.net.train()
    started = time.monotonic()

    def elapsed() -> float:
        return seconds + time.monotonic() - started

    def save() -> None:
        log.flush()
        _check_weights(trainable.net, step, run_dir)
        if not lead:
            return
        meta = {"step": step, "seconds": elapsed(), "position": record.position}
        save_tensors(run_dir / CHECKPOINT, trainable.net.state_dict() | optimizer_tensors(optimizers), meta)

    saved_at = time.monotonic()
    with (
        step_bar(title, total, step, images=config.batch_size, enabled=progress and lead) as bar,
        event_files(run_dir, enabled=tensorboard and lead) as follow,
    ):
        while step < total:
            epoch = step // per_epoch
            order = epoch_order(n, seed, epoch)
            trainable.before_epoch(epoch)
            indexes = [
                order[k * config.batch_size : (k + 1) * config.batch_size][mine]
                for k in range(step % per_epoch, per_epoch)
            ]
            for index, batch in zip(indexes, batches.in_turn(indexes), strict=True):
                lr = set_lr(optimizers, config.lr_factor(step, per_epoch))
                rows = torch.from_numpy(index).to(device, non_blocking=True)
                loss, terms = trainable.loss(batch, rows, generator(device, seed, "views", step, *position))
                for p in parameters:
                    p.grad = None
                fabric.backward(loss)
                ranks.average_gradients(parameters)
                for optimizer in optimizers:
                    optimizer.step()
                trainable.after_step(step)
                step += 1
                line = {
                    "kind": "step",
                    "step": step,
                    "epoch": step / per_epoch,
                    "lr": lr,
                    "seconds": round(elapsed(), 2),
                }
                log.add(line, {"loss": loss.detach()} | terms)
                if device.type == "cpu" or len(log.pending) >= 50:
                    log.flush()
                    bar(step, float(loss.detach()))
                    follow()
                # Not after an epoch's last step: a kill before the evaluation is logged would lose that evaluation.
                if step % per_epoch and time.monotonic() - saved_at > config.checkpoint_seconds:
                    save()
                    saved_at = time.monotonic()
            log.flush()
            seconds = elapsed()
            _check_weights(trainable.net, step, run_dir)
            if lead:
                _end_of_epoch(trainable, record, run_dir, epoch + 1, config, snapshots, seconds, on_eval)
            follow()
            started = time.monotonic()
            save()
            saved_at = time.monotonic()
    if lead:
        save_tensors(run_dir / WEIGHTS, trainable.net.state_dict(), {"epochs": config.epochs, "seconds": elapsed()})
        (run_dir / CHECKPOINT).unlink(missing_ok=True)
    ranks.wait()


def trained(run_dir: Path) -> bool:
    """Whether training is finished: the weights exist. Deletes a checkpoint that a kill left beside them."""
    over = (run_dir / WEIGHTS).exists()
    if over:
        (run_dir / CHECKPOINT).unlink(missing_ok=True)
    return over


def _resume(
    net: nn.Module, optimizers: list[torch.optim.Optimizer], record: MetricsLog, run_dir: Path
) -> tuple[int, float]:
    """Restore the checkpoint, if any; return (step, seconds)."""
    path = run_dir / CHECKPOINT
    if not path.exists():
        record.rewind(0)
        return 0, 0.0
    tensors, meta = load_tensors(path)
    with reading(f"{path} is not a checkpoint of this run: it", "Delete it and run again: training starts anew."):
        net.load_state_dict({name: t for name, t in tensors.items() if not name.startswith("optimizer.")})
        restore_optimizers(optimizers, tensors)
        record.rewind(int(meta["position"]))
        return int(meta["step"]), float(meta["seconds"])


def _snapshot_epochs(config: TrainConfig) -> set[int]:
    """Up to ``keep`` evenly spaced epochs (1-based), first and last among them."""
    keep = min(config.keep, config.epochs)
    return {int(e) for e in np.linspace(1, config.epochs, keep).round()} if keep else set()


def _end_of_epoch(
    trainable: Trainable,
    record: MetricsLog,
    run_dir: Path,
    epoch: int,
    config: TrainConfig,
    snapshots: set[int],
    seconds: float,
    on_eval: Callable[[int, float], None] | None,
) -> None:
    """Log the epoch's train means, keep a snapshot, evaluate on held-out data."""
    recent = [line for line in record.read() if epoch - 1 <= line["epoch"] <= epoch]
    lines = [line for line in recent if line["kind"] == "step" and line["epoch"] > epoch - 1]
    names = [name for name in lines[0] if name not in ("kind", "step", "epoch", "lr", "seconds")]
    means = {name: float(np.mean([line[name] for line in lines])) for name in names}
    before = [line["seconds"] for line in recent if line["kind"] == "epoch" and line["split"] == "train"]
    spent = seconds - (before[-1] if before else 0.0)
    speed = {"seconds": seconds, "images_per_s": round(len(lines) * config.batch_size / max(spent, 1e-9), 1)}
    record.append({"kind": "epoch", "epoch": epoch, "split": "train"} | speed | means)
    if epoch in snapshots:
        save_tensors(
            run_dir / SNAPSHOTS / f"epoch-{epoch:04d}.safetensors", trainable.net.state_dict(), {"epoch": epoch}
        )
    if on_eval is not None and (epoch % config.eval_every == 0 or epoch == config.epochs):
        trainable.net.eval()
        on_eval(epoch, seconds)
        trainable.net.train()


@contextmanager
def step_bar(
    title: str, total: int, start: int, *, images: int, enabled: bool = True
) -> Iterator[Callable[[int, float], None]]:
    """Yield ``update(step, loss)``; ``images`` are those of one step. Draws on stderr; silent when not ``enabled``."""
    if not enabled:
        yield lambda step, loss: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[rate]} images/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=total, completed=start, loss="-", rate="-")

        def update(step: int, loss: float) -> None:
            speed = bars.tasks[task].speed
            rate = "-" if speed is None else f"{speed * images:.0f}"
            bars.update(task, completed=step, loss=f"{loss:.3f}", rate=rate)

        yield update
