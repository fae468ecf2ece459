"""The record of a run: metrics.jsonl, one JSON object per line, rewound exactly on resume."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

from nearkin.errors import DataError, OutputError, reading


class Record:
    """Append-only metrics of one run.

    ``position`` (bytes) goes into each checkpoint; ``rewind`` cuts off what was logged after it, so that an
    interrupted and resumed run leaves the same lines as an uninterrupted one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, *lines: dict[str, Any]) -> None:
        """Write lines at the end and flush, in place of what a kill left unfinished there.

        Raises OutputError when the disk refuses.
        """
        try:
            with open(self.path, "a+b") as file:
                end = file.seek(0, os.SEEK_END)
                if end and _last_byte(file) != b"\n":
                    file.truncate(_whole_lines(self.path))
                file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}. Free some space, then run again."
            ) from error

    @property
    def position(self) -> int:
        """Length of the file in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def rewind(self, position: int) -> None:
        """Cut the file back to ``position`` bytes. Raises DataError when it is shorter: lines of the past are lost."""
        if self.position < position:
            raise DataError(
                f"{self.path} is shorter than the checkpoint beside it says. Delete {self.path.parent} and run again."
            )
        if self.path.exists():
            os.truncate(self.path, position)

    def read(self, **match: Any) -> list[dict[str, Any]]:
        """All lines whose fields equal ``match``, e.g. ``read(kind="epoch", split="val")``.

        A last line without an end, as a kill leaves it, is none. Raises DataError for other damage.
        """
        if not self.path.exists():
            return []
        with reading(self.path, f"Delete {self.path.parent} and run again."):
            whole = self.path.read_bytes().split(b"\n")[:-1]
            lines = [line for line in map(json.loads, whole) if line.keys() >= match.keys()]
            return [line for line in lines if all(line[key] == value for key, value in match.items())]


def _last_byte(file: IO[bytes]) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _whole_lines(path: Path) -> int:
    """Bytes up to the last line's end."""
    return path.read_bytes().rfind(b"\n") + 1


class Unwritten(Record):
    """The record on ranks other than 0: the file is rank 0's, nothing is written."""

    def append(self, *lines: dict[str, Any]) -> None:
        """Do nothing."""

    def rewind(self, position: int) -> None:
        """Do nothing."""
