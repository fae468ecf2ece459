"""The same parts over Ray Data: one task per part; Ray repeats elsewhere what a dead worker or node had begun."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearkin.bulk.parts import Part
from nearkin.bulk.write import Outcome, Work, write_part
from nearkin.embedder import Embed, embedder
from nearkin.errors import ConfigError, NearkinError, OutputError

if TYPE_CHECKING:
    from nearkin.bulk.job import Job

_RETRIES = 5  # of a part whose worker died; one that always kills its worker must come to an end


@functools.lru_cache(maxsize=1)
def _opened(run: Path, layer: str, size: int, device: str) -> Embed:
    """The run, kept by the worker's process for its next task."""
    return embedder(run, (3, size, size), layer=layer, device=device)


def _task(row: dict[str, Any], work: Work, device: str) -> dict[str, Any]:
    """Runs on the cluster."""
    part: Part = row["item"]
    try:
        outcome = write_part(work, part, _opened(work.run, work.layer, work.size, device))
    except NearkinError as error:  # as a value: as an exception, Ray would wrap it in pages of its own
        outcome = Outcome(0, error=str(error))
    return {"name": part.name} | asdict(outcome)


def run_on_ray(job: Job, parts: Sequence[Part]) -> Iterator[tuple[Part, Outcome]]:
    """Embed on the cluster that RAY_ADDRESS names or this machine belongs to, else on one started here for the while.

    The run and the output folder must have the same path on every node.

    Raises:
        ConfigError: no GPU in the cluster, where one was asked for. OutputError: Ray gave up.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    import ray
    import ray.data

    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if job.device == "cuda" and not gpus:
            raise ConfigError("device 'cuda' was asked for, but the Ray cluster has no GPU. Use --device cpu or auto.")
        device = "cuda" if gpus and job.device != "cpu" else "cpu"
        by_name = {part.name: part for part in parts}
        done = ray.data.from_items(list(parts), override_num_blocks=len(parts)).map(
            _task,
            fn_kwargs={"work": job.work, "device": device},
            num_cpus=1,
            num_gpus=1 if device == "cuda" else 0,
            max_retries=_RETRIES,
        )
        for row in done.iter_rows():
            yield by_name[row.pop("name")], Outcome(**row)
    except ray.exceptions.RayError as error:
        what = " ".join(str(error).split())[-300:]
        raise OutputError(f"Ray gave up ({what}). What is done stays; run the same command again.") from error
    finally:
        if started:
            ray.shutdown()
