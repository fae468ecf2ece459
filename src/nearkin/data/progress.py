"""A progress bar over files, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WORTH_SHOWING = 2000


@contextmanager
def file_bar(
    title: str, total: int, *, enabled: bool = True, least: int = _WORTH_SHOWING
) -> Iterator[Callable[[], None]]:
    """Yield ``advance()``. Silent for fewer than ``least`` files, which load in a moment."""
    if not enabled or total < least:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=total)
        yield lambda: bars.update(task, advance=1)
