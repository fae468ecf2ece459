"""One part: images in, a Parquet file out, whole or not at all."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data import Skipped
from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.fileio import write_file
from nearkin.runs.embedder import Embed
from nearkin.runs.parts import Batch, Part
from nearkin.system import read_ahead


@dataclass(frozen=True)
class Work:
    """What a worker needs to know; may be pickled. Paths are absolute: the run and ``out`` lie on a disk that all share.

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
    """Attributes:
    work: run, layer, folder. device: "auto", "cpu" or "cuda". engine: one of ENGINES. rank, world: this process among
    those that torchrun started; each takes every ``world``-th part. compiled: as in :func:`nearkin.runs.embedder.one_layer`.
    """

    work: Work
    device: str = "auto"
    engine: str = "local"
    rank: int = 0
    world: int = 1
    progress: bool = True
    compiled: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a part: vectors written, images that could not be read (and the first), and why there is no file."""

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
        schema = _table(work, Batch(nothing, ["-"], [None], ["-"]), embed(nothing)).schema
        with pq.ParquetWriter(handle, schema) as writer:
            for batch in read_ahead(part.batches(work.size, skip)):
                writer.write_table(_table(work, batch, embed(batch.images)))
                rows += len(batch.ids)

    # A name of its own: where a cluster took a worker for dead that is not, two write the same part.
    file = work.file(part)
    temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        write_file(file, fill, temporary=temporary)
    except DataError as error:
        return Outcome(0, error=str(error))
    finally:
        temporary.unlink(missing_ok=True)
    first = f"{skipped[0].path}: {skipped[0].reason}" if skipped else ""
    return Outcome(rows, len(skipped), first)


def _table(work: Work, batch: Batch, Z: NDArray[np.float32]) -> Any:
    import pyarrow as pa

    made = Embeddings(Z, np.array(batch.ids), None, np.array(batch.splits), (), work.provenance).to_arrow()
    # Names, not numbers: a part does not know the classes of the others.
    return made.set_column(1, "label", pa.array(batch.labels, pa.string()))
