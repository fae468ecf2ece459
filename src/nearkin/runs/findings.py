"""What a check found, and values taken from files that nobody vouches for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nearkin.errors import one_line

LEVELS = ("broken", "warning", "note")
_MOST = 600


@dataclass(frozen=True)
class Finding:
    """Attributes:
    level: "broken" (results cannot be trusted or read), "warning" (harmless, but not as it should be) or "note".
    path: the file or folder. what: one line. fix: what to do about it, one line; empty for notes.
    """

    level: str
    path: Path
    what: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON-able."""
        return asdict(self) | {"path": clean(str(self.path))}


def clean(text: object) -> str:
    """One printable line of at most 600 characters."""
    line = one_line(text)
    return line if len(line) <= _MOST else line[: _MOST - 3] + "..."


def number(value: Any) -> float | None:
    """``value`` as a float if it is a finite JSON number (a bool is none), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def whole(value: Any) -> int | None:
    """``value`` if it is an integer (a bool is none), else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
