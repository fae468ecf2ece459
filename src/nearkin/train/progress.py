"""A progress bar for steps, with the loss, the rate and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
