"""Work in threads, results in order, and never more of them in memory than a few."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")
_AHEAD = 256


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """The items in order; the next one is made in a thread while the present one is used."""
    end = object()
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item  # type: ignore[misc]


def map_ahead(work: Callable[[T], U], items: Iterable[T], ahead: int = _AHEAD) -> Iterator[U]:
    """Like ``map``, computed in threads at most ``ahead`` items before they are taken.

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
