"""Foreign vectors, checked: equally long, numbers, finite, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nearkin.errors import DataError

_CHUNK = 4096


def drain(chunks: list[Any], kind: Any, path: str) -> NDArray[np.float32]:
    """The chunks of a list column of Arrow type ``kind`` -> float32 (N, D).

    ``chunks`` is emptied: each is let go once it is copied, so that both do not lie in memory whole.

    Raises:
        DataError: anything but equally long vectors of numbers.
    """
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not listed or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise DataError(f"{path}: column 'embedding' must hold lists of numbers; it holds {kind}.")
    n = sum(len(chunk) for chunk in chunks)
    lengths = {length for chunk in chunks for length in pc.unique(pc.list_value_length(chunk)).to_pylist()}
    if n == 0 or len(lengths) != 1 or lengths <= {0, None}:
        raise DataError(f"{path}: column 'embedding' must hold one vector of equal length per row.")
    out = np.empty((n, lengths.pop()), dtype=np.float32)
    done = 0
    chunks.reverse()
    while chunks:
        chunk = chunks.pop()
        part = chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), out.shape[1])
        with np.errstate(over="ignore"):
            out[done : done + len(chunk)] = part
        done += len(chunk)
        del chunk, part
        pa.default_memory_pool().release_unused()  # or it keeps what is free
    return _checked(out, path)


def finite(values: NDArray[Any], path: str) -> NDArray[np.float32]:
    """In float32. Raises DataError for what is not finite then."""
    with np.errstate(over="ignore"):
        return _checked(values.astype(np.float32), path)


def _checked(Z: NDArray[np.float32], path: str) -> NDArray[np.float32]:
    bad = np.flatnonzero(~_finite_rows(Z))
    if len(bad):
        raise DataError(
            f"{path}: {len(bad)} of {len(Z)} vectors hold NaN or infinity, first in row {bad[0]}. Leave those rows out."
        )
    return Z


def _finite_rows(Z: NDArray[np.float32]) -> NDArray[np.bool_]:
    """bool (N,): which rows of (N, D) hold finite numbers only. By chunks: a mask of all entries can be large."""
    parts = [np.isfinite(Z[start : start + _CHUNK]).all(axis=1) for start in range(0, len(Z), _CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)
