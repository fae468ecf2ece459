"""A progress bar for steps, with the loss, the rate and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def step_bar(title: str, total: int, start: int, *, enabled: bool = True) -> Iterator[Callable[[int, float], None]]:
    """Yield ``update(step, loss)``. Draws on stderr; silent when not ``enabled``."""
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
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=total, completed=start, loss="-")
        yield lambda step, loss: bars.update(task, completed=step, loss=f"{loss:.3f}")
