"""What of the machine there is to use, and what is given back."""

from __future__ import annotations

import ctypes
import os
import sys


def available_cores() -> int:
    """Cores this process may use; where the system does not tell, those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def return_memory() -> None:
    """Give freed memory back to the system. glibc keeps it: after a training half a gigabyte, beside what comes next."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
