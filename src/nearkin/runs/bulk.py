"""Embed a whole set, of any size, into a folder of Parquet files: by one process, several ranks, or a Ray cluster.

A set is embedded in parts: a shard each, or some thousand neighbouring images. Parts that are there stay.
"""

from __future__ import annotations

import functools
import hashlib
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nearkin import data as nd
from nearkin.data import ReadOptions, Skipped
from nearkin.data.decode import AS_FOUND
from nearkin.data.shards import OnSkip, Shard, is_shards, list_shards, range_of_shards, read_shard
from nearkin.data.sources import as_trained
from nearkin.data.store import shard_stamp
from nearkin.embeddings import PARTS, Embeddings
from nearkin.errors import ConfigError, DataError, NearkinError, unknown
from nearkin.fileio import exclusive, file_digest, read_object, write_file, write_json
from nearkin.folders import TEMPORARY
from nearkin.runs.embed import encoder_note
from nearkin.runs.run import Embed, Run, Study, open_run
from nearkin.system import check_ray, connected, file_bar, prefetch, spread
from nearkin.train import ranks

ENGINES = ("local", "ray")
ROWS = 65_536  # images in a part of a set that has no shards
BATCH = 1024  # images in memory at once
_CONTENT = b"nearkin_part"  # the metadata key of a file's Part.content


@dataclass(frozen=True)
class Batch:
    """Some images of one part: uint8 (B, 3, S, S), with their ids, class names (None where unknown) and splits."""

    images: NDArray[np.uint8]
    ids: list[str]
    labels: list[str | None]
    splits: list[str]


class Part(Protocol):
    """One unit of work: images that are embedded together and saved in one file."""

    @property
    def name(self) -> str:
        """The file's name without suffix; unique in its set."""

    @property
    def content(self) -> str:
        """A digest of the images and labels. A file with another digest is written anew. Empty: not known."""

    def batches(self, size: int, on_skip: OnSkip) -> Iterator[Batch]:
        """The images at ``size`` x ``size``, at most BATCH at a time. Raises DataError where they cannot be read."""


@dataclass(frozen=True)
class ShardPart:
    """One shard, and what of it is read."""

    shard: Shard
    read: ReadOptions = AS_FOUND
    content: str = ""

    @property
    def name(self) -> str:
        """The shard's file name and a digest of its URL: it does not depend on the other shards."""
        file = re.sub(r"[^\w.-]", "_", self.shard.url.rpartition("/")[2])[-80:]
        return f"{file}-{hashlib.sha256(self.shard.url.encode()).hexdigest()[:8]}"

    def batches(self, size: int, on_skip: OnSkip) -> Iterator[Batch]:
        """See :class:`Part`."""
        samples = read_shard(self.shard, size, on_skip, read=self.read)
        while some := list(islice(samples, BATCH)):
            images = np.stack([sample.pixels for sample in some])
            yield Batch(images, [s.id for s in some], [s.label for s in some], [s.split for s in some])


@dataclass(frozen=True)
class Source:
    """A set without shards, as 'nearkin embed' names it. Held-out images are drawn as in training."""

    data: str
    labels: Path | None
    size: int
    strict: bool
    subset: int | None
    progress: bool
    read: ReadOptions = AS_FOUND


@functools.lru_cache(maxsize=1)
def splits_of(source: Source) -> nd.Splits:
    """Train, validation and test of a set; the last one asked for stays loaded."""
    dataset = nd.load(
        source.data,
        labels=source.labels,
        size=source.size,
        strict=source.strict,
        progress=source.progress,
        read=source.read,
    )
    return nd.split(dataset, subset=source.subset)


@dataclass(frozen=True)
class RowsPart:
    """Neighbouring images of one split."""

    source: Source
    split: str
    start: int
    content: str = ""

    @property
    def name(self) -> str:
        """The split and the first image's number."""
        return f"{self.split}-{self.start:09d}"

    def batches(self, size: int, on_skip: OnSkip) -> Iterator[Batch]:
        """See :class:`Part`."""
        items: nd.ImageSet = getattr(splits_of(self.source), self.split)
        stop = min(self.start + ROWS, len(items))
        for start in range(self.start, stop, BATCH):
            rows = slice(start, min(start + BATCH, stop))
            numbers = items.known_labels()[rows]
            names = [items.classes[k] if k >= 0 else None for k in numbers]
            yield Batch(np.asarray(items.images[rows]), items.ids[rows].tolist(), names, [self.split] * len(names))


def parts_of(source: Source) -> list[Part]:
    """The parts of a set, in order. Raises DataError where there is none."""
    if is_shards(source.data):
        return [ShardPart(shard, source.read, _shard_content(shard, source.read)) for shard in list_shards(source.data)]
    splits = splits_of(source)
    return [
        RowsPart(source, split, start, _rows_content(getattr(splits, split), start))
        for split in ("train", "val", "test")
        for start in range(0, len(getattr(splits, split)), ROWS)
    ]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _shard_content(shard: Shard, read: ReadOptions) -> str:
    try:
        return _digest(shard_stamp(shard), repr(read))
    except DataError:  # what embeds it tells why
        return ""


def _rows_content(items: nd.ImageSet, start: int) -> str:
    """A digest of a part's pixels, ids and class names."""
    stop = min(start + ROWS, len(items))
    digest = hashlib.sha256(repr(items.images.shape[1:]).encode())
    for at in range(start, stop, BATCH):
        digest.update(np.ascontiguousarray(items.images[at : min(at + BATCH, stop)]).data)
    names = [items.classes[k] if k >= 0 else "" for k in items.known_labels()[start:stop]]
    return _digest(digest.hexdigest(), *items.ids[start:stop].tolist(), *names)


@dataclass(frozen=True)
class Work:
    """The job of every worker; can be pickled. Paths are absolute: all workers share the disk of the run and of ``out``.

    Attributes:
        size: side of the images. provenance: goes into every file. strict: fail at an unreadable image.
    """

    run: Path
    out: Path
    layer: str
    size: int
    provenance: dict[str, Any]
    strict: bool

    def file(self, part: Part) -> Path:
        """Where a part's vectors go."""
        return self.out / f"{part.name}.parquet"


@dataclass(frozen=True)
class Job:
    """How the parts are embedded.

    Attributes:
        work: run, layer, folder. device: "auto", "cpu" or "cuda". engine: one of ENGINES. rank, world: this process among
    those that torchrun started; each takes every ``world``-th part. compiled: as in :meth:`nearkin.runs.run.Run.open`. source: the set, as it was named.
    """

    work: Work
    device: str = "auto"
    engine: str = "local"
    rank: int = 0
    world: int = 1
    progress: bool = True
    compiled: bool = False
    source: str = ""


@dataclass(frozen=True)
class Outcome:
    """The result of one part: vectors written, unreadable images (and the first of them), and why there is no file."""

    rows: int
    skipped: int = 0
    first_skipped: str = ""
    error: str = ""


def write_part(work: Work, part: Part, embed: Embed) -> Outcome:
    """Embed one part. A shard that cannot be read is an outcome, no exception: the others shall go on.

    Raises:
        OutputError: the disk refuses.
    """
    skipped: list[Skipped] = []

    def skip(item: Skipped) -> None:
        if work.strict:
            raise DataError(f"{item.path}: {item.reason} (--strict).")
        skipped.append(item)

    rows = 0

    def fill(handle: IO[bytes]) -> None:
        nonlocal rows
        import pyarrow.parquet as pq

        nothing = np.zeros((1, 3, work.size, work.size), np.uint8)  # the schema, for a part without readable images
        schema = _table(work, part, Batch(nothing, ["-"], [None], ["-"]), embed(nothing)).schema
        with pq.ParquetWriter(handle, schema) as writer:
            for batch in prefetch(part.batches(work.size, skip)):
                writer.write_table(_table(work, part, batch, embed(batch.images)))
                rows += len(batch.ids)

    # A name of its own: where a cluster took a worker for dead that is not, two write the same part.
    file = work.file(part)
    temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        write_file(file, fill, temporary=temporary)
    except DataError as error:
        return Outcome(0, error=str(error))
    finally:
        temporary.unlink(missing_ok=True)
    first = f"{skipped[0].path}: {skipped[0].reason}" if skipped else ""
    return Outcome(rows, len(skipped), first)


def _table(work: Work, part: Part, batch: Batch, Z: NDArray[np.float32]) -> Any:
    import pyarrow as pa

    made = Embeddings(Z, np.array(batch.ids), None, np.array(batch.splits), (), work.provenance).to_arrow()
    # Names, not numbers: a part does not know the classes of the others.
    table = made.set_column(1, "label", pa.array(batch.labels, pa.string()))
    return table.replace_schema_metadata({**table.schema.metadata, _CONTENT: part.content.encode()})


def _is_made(work: Work, part: Part) -> bool:
    """Whether the part's file is there and was made of what the part holds now."""
    import pyarrow.parquet as pq

    file = work.file(part)
    if not file.exists():
        return False
    try:
        held = (pq.read_schema(file).metadata or {}).get(_CONTENT, b"")
    except (OSError, ValueError):  # damaged: made anew
        return False
    return not part.content or held.decode("ascii", "replace") == part.content


@dataclass(frozen=True)
class BulkSummary:
    """What :func:`embed_parts` did.

    Attributes:
        parts, rows: parts and vectors made now. kept: parts that were there. changed: parts among those made now that replace
            one of other images or labels. gone: parts that were deleted, as their images are no more.
        skipped, first_skipped: unreadable images. encoder: a note on one that others trained; empty for others.
    """

    parts: int
    rows: int
    kept: int
    changed: int
    gone: int
    skipped: int
    first_skipped: str
    encoder: str = ""


def check_engine(engine: str) -> None:
    """Raise ConfigError for an unknown engine, or if its package is not installed."""
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if engine == "ray":
        check_ray("--engine ray")


def embed_parts(job: Job, parts: Sequence[Part], embed: Embed) -> BulkSummary:
    """Embed the parts that have no file in the folder yet, or one of other images or labels than they hold now.

    Args:
        embed: what does it with the engine "local"; workers of a cluster open the run themselves.
    Raises:
        ConfigError: the folder holds vectors of another run, layer or set. OutputError: the disk refuses.
        DataError: parts that cannot be read, told after all others are done.
    """
    work = job.work
    gone = _claim(work, parts, job.source) if job.rank == 0 else 0
    _sweep(job)
    mine = parts[job.rank :: job.world]
    todo = [part for part in mine if not _is_made(work, part)]
    changed = [part for part in todo if work.file(part).exists()]
    for part in changed:  # now: an interruption must not leave them for whole
        work.file(part).unlink(missing_ok=True)
    working = _embed_on_ray(job, todo) if job.engine == "ray" else _embed_here(job, todo, embed)
    outcomes: list[Outcome] = []
    bad: list[Outcome] = []
    with file_bar("embedding", len(todo), enabled=job.progress and job.rank == 0, least=2) as advance:
        for outcome in working if todo else ():
            (bad if outcome.error else outcomes).append(outcome)
            advance()
    _sweep(job)
    if bad:
        raise DataError(
            f"{len(bad)} of {len(mine)} parts cannot be read; first: {bad[0].error} The others are done; "
            "run the same command again when it is mended."
        )
    return BulkSummary(
        len(outcomes),
        sum(item.rows for item in outcomes),
        len(mine) - len(todo),
        len(changed),
        gone,
        sum(item.skipped for item in outcomes),
        next((item.first_skipped for item in outcomes if item.skipped), ""),
        encoder_note(job.work.provenance),
    )


def _sweep(job: Job) -> None:
    """Delete what killed workers left; not among ranks, which may be in the middle of their parts."""
    for left in job.work.out.glob(f"*.parquet.*{TEMPORARY}") if job.world == 1 else ():
        left.unlink(missing_ok=True)


def _claim(work: Work, parts: Sequence[Part], source: str) -> int:
    """Note what the folder shall hold, so that nobody takes it for whole before it is. Returns how many parts were deleted.

    A part that the set of the same name had and has no more goes; parts of other shards stay.
    """
    path = work.out / PARTS
    names = [part.name for part in parts]
    gone: list[str] = []
    if path.exists():
        before = read_object(path, parts=list)
        made: dict[str, Any] = before.get("provenance") or {}
        if made.get("compiled") != work.provenance.get("compiled"):
            how = "with" if made.get("compiled") else "without"
            raise ConfigError(f"{work.out} was begun {how} --compile; go on {how} it, or choose another -o.")
        if made != work.provenance:
            raise ConfigError(f"{work.out} holds vectors of another run, layer or set. Choose another -o.")
        held = [str(name) for name in before["parts"]]
        same = "embedded" in work.provenance or before.get("source") == source
        gone = [name for name in held if name not in set(names)] if same else []
        for file in work.out.glob("*.parquet"):  # a crafted list may name files elsewhere
            if file.stem in gone:
                file.unlink(missing_ok=True)
        names = list(dict.fromkeys([*(name for name in held if name not in set(gone)), *names]))
    write_json(path, {"provenance": work.provenance, "source": source, "parts": names})
    return len(gone)


def _embed_here(job: Job, parts: Sequence[Part], embed: Embed) -> Iterator[Outcome]:
    for part in parts:
        yield write_part(job.work, part, embed)


@functools.lru_cache(maxsize=1)
def _opened(run: Path, layer: str, device: str, compiled: bool) -> Embed:
    """The run, kept by a worker's process for its next task."""
    return open_run(run).open(layer, device=device, compiled=compiled)


def _task(row: dict[str, Any], work: Work, device: str, compiled: bool) -> dict[str, Any]:
    """Runs on the cluster."""
    part: Part = row["item"]
    try:
        outcome = write_part(work, part, _opened(work.run, work.layer, device, compiled))
    except NearkinError as error:  # as a value: as an exception, Ray would wrap it in pages of its own
        outcome = Outcome(0, error=str(error))
    return asdict(outcome)


def _embed_on_ray(job: Job, parts: Sequence[Part]) -> Iterator[Outcome]:
    """Embed on a cluster (:func:`nearkin.system.connected`), one task per part. The run and the output folder must have the
    same path on every node.

    Raises:
        ConfigError: no GPU in the cluster, where one was asked for. OutputError: Ray gave up.
    """
    with connected() as ray:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if job.device == "cuda" and not gpus:
            raise ConfigError("device 'cuda' was asked for, but the Ray cluster has no GPU. Use --device cpu or auto.")
        device = "cuda" if gpus and job.device != "cpu" else "cpu"
        fixed = {"work": job.work, "device": device, "compiled": job.compiled}
        for row in spread(_task, parts, fixed, gpu=device == "cuda"):
            yield Outcome(**row)


def embed_bulk(
    folder: Path,
    data: str,
    out: Path,
    *,
    layer: str | None,
    labels: Path | None,
    subset: int | None,
    strict: bool,
    read: ReadOptions = AS_FOUND,
    device: str,
    engine: str,
    progress: bool,
    compiled: bool = False,
) -> BulkSummary:
    """Embed a set of any size with a finished run into a folder of Parquet files, a part each; parts that are there stay,
    unless their images or labels have changed.

    Under torchrun every rank calls this and takes its share.

    Raises:
        ConfigError: unknown engine or layer, or ``out`` holds other vectors. DataError, OutputError: see :func:`embed_parts`.
    """
    check_engine(engine)
    run, here = open_run(folder), ranks.number()
    size = run.image_size()
    place = Path(data).expanduser()
    # Workers of a cluster need not be in this folder.
    where = str(place.absolute()) if not is_shards(data) and place.exists() else data
    read = as_trained(read, run.config().read, data)
    if is_shards(data) and read.value_range is None:
        read = read.used_for(range_of_shards(list_shards(data), read)[0])
    source = Source(where, labels and labels.absolute(), size, strict, subset, progress and here == 0, read)
    if is_shards(data) and (labels is not None or subset is not None):
        raise ConfigError(f"--labels and --subset are for sets without shards; {data} brings its own labels.")
    embed = run.open(layer, device=device if engine == "local" else "cpu")
    identity = run.config().to_json() | embed.method.provenance | {"run": run.name, "layer": embed.layer}
    if compiled:  # its vectors differ by rounding: parts of one folder are made alike
        identity["compiled"] = True
    identity["weights"] = file_digest(run.weights_file) if run.trained else None
    if not is_shards(data):
        identity |= {"embedded": data, "subset": subset}
    identity |= {"read": read.given()} if read.given() else {}
    if Run(out).config_file.exists() or Study(out).study_file.exists():
        raise ConfigError(f"{out} is the folder of a run or study; vectors need one of their own. Choose another -o.")
    work = Work(run.place, out.resolve(), embed.layer, size, identity, strict)
    job = Job(work, device, engine, here, ranks.launched(), progress, compiled, data)
    if compiled and engine == "local":
        embed.method.compile_embedding(embed.layer)
    with exclusive(out) if here == 0 else nullcontext():  # the other ranks' parts are their own
        return embed_parts(job, parts_of(source), embed)
