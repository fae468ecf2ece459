"""How many cores there are to use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores this process may use; where the system does not tell, those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
