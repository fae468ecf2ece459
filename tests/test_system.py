"""Memory that is freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from nearkin.system import prefetch, prefetch_map

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


# prefetch_map, prefetch: order, bound, errors, an early end


def test_order_and_bound() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for i in range(100):
            taken += 1
            yield i

    for done, found in enumerate(prefetch_map(lambda i: i * i, items(), ahead=5)):
        assert found == done**2 and taken <= done + 5
    assert taken == 100


def test_an_error_comes_at_its_place_and_an_early_end_stops() -> None:
    work = prefetch_map(lambda i: 1 // i, [2, 1, 0, 5], ahead=2)
    assert [next(work), next(work)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(work)
    early = prefetch_map(lambda i: i, range(1000), ahead=10)
    assert next(early) == 0
    early.close()


def test_the_next_item_is_made_while_the_present_one_is_used() -> None:
    made = [threading.Event() for _ in range(4)]
    used = threading.Event()

    def items() -> Iterator[int]:
        for i, event in enumerate(made):
            event.set()
            yield i

    for i in prefetch(items()):
        if i == 0:
            assert made[1].wait(10)  # by another thread: this one has not asked for it
            assert not made[2].wait(0.05) and not used.is_set()  # and no more than one ahead
        used.set()
    assert all(event.is_set() for event in made) and list(prefetch([3, 1, 2])) == [3, 1, 2]


def test_an_error_of_the_reader_reaches_the_user_after_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    found = prefetch(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="broken"):
        next(found)
    early = prefetch(iter(range(1000)))
    assert next(early) == 0
    early.close()
