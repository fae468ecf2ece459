"""The record of a run: metrics.jsonl, one JSON object per line, rewound exactly on resume."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from nearkin.errors import OutputError


class Record:
    """Append-only metrics of one run.

    ``position`` (bytes) goes into each checkpoint; ``rewind`` cuts off what was logged after it, so that an
    interrupted and resumed run leaves the same lines as an uninterrupted one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, *lines: dict[str, Any]) -> None:
        """Write lines at the end and flush. Raises OutputError when the disk refuses."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}. Free some space, then run again."
            ) from error

    @property
    def position(self) -> int:
        """Length of the file in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def rewind(self, position: int) -> None:
        """Cut the file back to ``position`` bytes."""
        if self.path.exists():
            os.truncate(self.path, position)

    def read(self, **match: Any) -> list[dict[str, Any]]:
        """All lines whose fields equal ``match``, e.g. ``read(kind="epoch", split="val")``."""
        if not self.path.exists():
            return []
        lines = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if all(line.get(key) == value for key, value in match.items())]


class Unwritten(Record):
    """The record on ranks other than 0: the file is rank 0's, nothing is written."""

    def append(self, *lines: dict[str, Any]) -> None:
        """Do nothing."""

    def rewind(self, position: int) -> None:
        """Do nothing."""
