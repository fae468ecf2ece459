"""A whole set: what is missing of it is embedded, by one process, several ranks, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nearkin.embeddings import PARTS
from nearkin.errors import ConfigError, DataError, unknown
from nearkin.fileio import read_json, write_json
from nearkin.runs.embedder import embedder
from nearkin.runs.part_writer import Job, Outcome, Work, write_part
from nearkin.runs.parts import Part
from nearkin.system import check_ray, file_bar

ENGINES = ("local", "ray")
Results = Iterable[tuple[Part, Outcome]]


@dataclass(frozen=True)
class Summary:
    """What :func:`embed_parts` did: parts and vectors made now, parts that were there, unreadable images."""

    parts: int
    rows: int
    found: int
    skipped: int
    first_skipped: str


def check_engine(engine: str) -> None:
    """Raise ConfigError for an unknown engine, or one whose package is not installed."""
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if engine == "ray":
        check_ray("--engine ray")


def embed_parts(job: Job, parts: Sequence[Part]) -> Summary:
    """Embed the parts that have no file in the folder yet.

    Raises:
        ConfigError: the folder holds vectors of another run, layer or set. OutputError: the disk refuses.
        DataError: parts that cannot be read, told after all others are done.
    """
    work = job.work
    if job.rank == 0:
        _claim(work, parts)
    _sweep(job)
    mine = parts[job.rank :: job.world]
    todo = [part for part in mine if not work.file(part).exists()]
    run: Callable[[Job, Sequence[Part]], Results] = _local
    if job.engine == "ray":
        from nearkin.runs.ray_embed import run_on_ray as run
    outcomes: list[Outcome] = []
    bad: list[Outcome] = []
    with file_bar("embedding", len(todo), enabled=job.progress and job.rank == 0, least=2) as advance:
        for _, outcome in run(job, todo) if todo else ():
            (bad if outcome.error else outcomes).append(outcome)
            advance()
    _sweep(job)
    if bad:
        raise DataError(
            f"{len(bad)} of {len(mine)} parts cannot be read; first: {bad[0].error} The others are done; "
            "run the same command again when it is mended."
        )
    return Summary(
        len(outcomes),
        sum(item.rows for item in outcomes),
        len(mine) - len(todo),
        sum(item.skipped for item in outcomes),
        next((item.first_skipped for item in outcomes if item.skipped), ""),
    )


def _sweep(job: Job) -> None:
    """Delete what killed workers left; not among ranks, which may be in the middle of their parts."""
    for left in job.work.out.glob("*.parquet.*.tmp") if job.world == 1 else ():
        left.unlink(missing_ok=True)


def _claim(work: Work, parts: Sequence[Part]) -> None:
    """Note what the folder shall hold, so that nobody takes it for whole before it is."""
    path = work.out / PARTS
    names = [part.name for part in parts]
    if path.exists():
        before: dict[str, Any] = read_json(path)
        made: dict[str, Any] = before.get("provenance") or {}
        if made.get("compiled") != work.provenance.get("compiled"):
            how = "with" if made.get("compiled") else "without"
            raise ConfigError(f"{work.out} was begun {how} --compile; go on {how} it, or choose another -o.")
        if made != work.provenance:
            raise ConfigError(f"{work.out} holds vectors of another run, layer or set. Choose another -o.")
        names = list(dict.fromkeys([*before["parts"], *names]))
    write_json(path, {"provenance": work.provenance, "parts": names})


def _local(job: Job, parts: Sequence[Part]) -> Results:
    size = job.work.size
    embed = embedder(job.work.run, (3, size, size), layer=job.work.layer, device=job.device, compiled=job.compiled)
    for part in parts:
        yield part, write_part(job.work, part, embed)
