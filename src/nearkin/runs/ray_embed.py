"""The same parts over a Ray cluster, one task per part."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nearkin.errors import ConfigError, NearkinError
from nearkin.runs.embedder import Embed, embedder
from nearkin.runs.part_writer import Job, Outcome, Work, write_part
from nearkin.runs.parts import Part
from nearkin.system import connected, spread


@functools.lru_cache(maxsize=1)
def _opened(run: Path, layer: str, size: int, device: str, compiled: bool) -> Embed:
    """The run, kept by the worker's process for its next task."""
    return embedder(run, (3, size, size), layer=layer, device=device, compiled=compiled)


def _task(row: dict[str, Any], work: Work, device: str, compiled: bool) -> dict[str, Any]:
    """Runs on the cluster."""
    part: Part = row["item"]
    try:
        outcome = write_part(work, part, _opened(work.run, work.layer, work.size, device, compiled))
    except NearkinError as error:  # as a value: as an exception, Ray would wrap it in pages of its own
        outcome = Outcome(0, error=str(error))
    return {"name": part.name} | asdict(outcome)


def run_on_ray(job: Job, parts: Sequence[Part]) -> Iterator[tuple[Part, Outcome]]:
    """Embed on a cluster (:func:`nearkin.system.connected`). The run and the output folder must have the same path on
    every node.

    Raises:
        ConfigError: no GPU in the cluster, where one was asked for. OutputError: Ray gave up.
    """
    with connected() as ray:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if job.device == "cuda" and not gpus:
            raise ConfigError("device 'cuda' was asked for, but the Ray cluster has no GPU. Use --device cpu or auto.")
        device = "cuda" if gpus and job.device != "cpu" else "cpu"
        by_name = {part.name: part for part in parts}
        for row in spread(
            _task, parts, {"work": job.work, "device": device, "compiled": job.compiled}, gpu=device == "cuda"
        ):
            yield by_name[row.pop("name")], Outcome(**row)
