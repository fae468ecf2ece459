"""A .npy file of images that grows as they come, so that a set needs no memory of its own size."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray


class NpyWriter:
    """Appends uint8 arrays of one shape; the file is valid after the ``with`` block, and holds no rows before.

    NumPy pads a header so that its first dimension can grow in place (numpy.lib.format, "growth axis").
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._shape: tuple[int, ...] = (3, 1, 1)

    def __enter__(self) -> NpyWriter:
        self._file: IO[bytes] = open(self.path, "wb")  # noqa: SIM115 (closed by __exit__)
        return self

    def append(self, row: NDArray[np.uint8]) -> None:
        """Add one image, uint8 (3, S, S), as large as the first."""
        if not self.rows:
            self._shape = row.shape
            self._header(0)
        self._file.write(np.ascontiguousarray(row).data)
        self.rows += 1

    def _header(self, rows: int) -> None:
        self._file.seek(0)
        form = {"descr": "|u1", "fortran_order": False, "shape": (rows, *self._shape)}
        npy.write_array_header_1_0(self._file, form)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._header(self.rows)
