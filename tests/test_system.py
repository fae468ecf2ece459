"""Memory that is freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
from nearkin.system import available_cores, return_memory
def resident():
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1])
assert available_cores() >= 1
kept, freed = [], []
for _ in range(20000):  # what is kept lies between, so that the C library does not shrink its heap by itself
    freed.append(bytearray(b"x" * 9000)); kept.append(bytearray(b"y" * 1000))
del freed
before = resident()
return_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a matter of glibc")
def test_freed_memory_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert int(done.stdout) * 4096 > 20e6
