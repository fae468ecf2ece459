"""The machine: cores and memory that this process may use, work in threads or over a Ray cluster, a progress bar."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from nearkin.errors import ConfigError, OutputError


def available_cores() -> int:
    """Cores that this process may use. Where the system does not tell, those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def return_memory() -> None:
    """Return freed memory to the system. glibc would keep it: half a gigabyte after a training."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl lacks malloc_trim
        if trim is not None:
            trim(0)


T = TypeVar("T")
U = TypeVar("U")
_AHEAD = 256


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yield the items in order. A thread produces the next one while the current one is used."""
    end = object()
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item  # type: ignore[misc]


def prefetch_map(work: Callable[[T], U], items: Iterable[T], ahead: int = _AHEAD) -> Iterator[U]:
    """Like ``map``, but threads compute up to ``ahead`` results before they are taken.

    ``Executor.map`` would submit all items at once: a million of them are a gigabyte of futures.
    """
    waiting: deque[Future[U]] = deque()
    with ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 2)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the consumer may stop early
            for future in waiting:
                future.cancel()


_FEW_FILES = 2000


@contextmanager
def file_bar(title: str, total: int, *, enabled: bool = True, least: int = _FEW_FILES) -> Iterator[Callable[[], None]]:
    """Yield ``advance()``. Silent for fewer than ``least`` files, which load in a moment."""
    if not enabled or total < least:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=total)
        yield lambda: bars.update(task, advance=1)


_RETRIES = 5  # of a task whose worker died; bounded, because a task may always kill its worker


def check_ray(flag: str) -> None:
    """Raise ConfigError, which begins with the flag that asked for it, where Ray is not installed."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{flag} needs Ray: pip install 'nearkin[scale]'.") from error


@contextmanager
def connected() -> Iterator[Any]:
    """Connect to a Ray cluster and yield the module ``ray``.

    It connects to the cluster at RAY_ADDRESS, or the one that this machine belongs to. Without a cluster, Ray starts on
    this machine's cores and stops with the block.

    Raises:
        OutputError: no such cluster answers, or Ray gave up.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports usage statistics by default
    import ray

    started = not ray.is_initialized()
    try:
        if started:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = os.environ.get("RAY_ADDRESS", "on this machine")
        raise OutputError(f"no Ray cluster answers ({where}: {_short(error)}). Is RAY_ADDRESS right?") from error
    try:
        yield ray
    except ray.exceptions.RayError as error:
        raise OutputError(f"Ray gave up ({_short(error)}). What is done stays; run the same command again.") from error
    finally:
        if started:
            ray.shutdown()


def spread(
    task: Callable[..., dict[str, Any]], items: Iterable[Any], given: Mapping[str, Any], *, gpu: bool = False
) -> Iterator[dict[str, Any]]:
    """Run ``task({"item": item}, **given)`` for every item by Ray Data, and yield the results as they come in.

    Call it within :func:`connected`.

    Args:
        task: returns a dict of scalars, texts and arrays, and the same again when it is called again.
        gpu: whether each task gets a GPU, beside its core.
    """
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    listed = list(items)
    yield from (
        ray.data.from_items(listed, override_num_blocks=len(listed))
        .map(task, fn_kwargs=dict(given), num_cpus=1, num_gpus=int(gpu), max_retries=_RETRIES)
        .iter_rows()
    )


def _short(error: Exception) -> str:
    """The end of a message on one line. Ray puts the reason last."""
    return " ".join(str(error).split())[-300:]
