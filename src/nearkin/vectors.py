"""Foreign vectors, checked: equally long, numbers, finite, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nearkin.errors import DataError


def matrix(column: Any, path: str) -> NDArray[np.float32]:
    """A list column -> float32 (N, D). Raises DataError for anything but equally long vectors of numbers."""
    kind = column.type
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not listed or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise DataError(f"{path}: column 'embedding' must hold lists of numbers; it holds {kind}.")
    n = len(column)
    lengths = set(pc.list_value_length(column).to_pylist())
    if n == 0 or len(lengths) != 1 or lengths <= {0, None}:
        raise DataError(f"{path}: column 'embedding' must hold one vector of equal length per row.")
    return finite(column.flatten().to_numpy(zero_copy_only=False).reshape(n, -1), path)


def finite(values: NDArray[Any], path: str) -> NDArray[np.float32]:
    """In float32. Raises DataError for what is not finite then."""
    with np.errstate(over="ignore"):
        Z = values.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(Z).all(axis=1))
    if len(bad):
        raise DataError(
            f"{path}: {len(bad)} of {len(Z)} vectors hold NaN or infinity, first in row {bad[0]}. Leave those rows out."
        )
    return Z
