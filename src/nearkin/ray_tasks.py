"""Work over a Ray cluster, a task for each item; Ray repeats elsewhere what a dead worker or node had begun."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nearkin.errors import ConfigError, OutputError

_RETRIES = 5  # of a task whose worker died; one that always kills its worker must come to an end


def check_ray(flag: str) -> None:
    """Raise ConfigError, which begins with the flag that asked for it, where Ray is not installed."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{flag} needs Ray: pip install 'nearkin[scale]'.") from error


@contextmanager
def connected() -> Iterator[Any]:
    """The module ``ray``, connected to the cluster that RAY_ADDRESS names or this machine belongs to; else to one of this
    machine's cores, which ends with the block.

    Raises:
        OutputError: no such cluster answers, or Ray gave up.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
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
    """``task({"item": item}, **given)`` for every item, in the order in which they end, by Ray Data.

    To be used within :func:`connected`.

    Args:
        task: returns a dict of scalars, texts and arrays; must give the same when it is called again. gpu: each task
            gets one, beside its core.
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
    """The end of a message, on one line: Ray puts the reason last."""
    return " ".join(str(error).split())[-300:]
