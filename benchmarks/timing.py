"""What the benchmarks share: hardware, a stop-watch, the processor's own speed, fitted exponents."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from nearkin.system import available_cores


def cpu_name() -> str:
    """The processor's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--threads", type=int, default=available_cores(), help="default: the cores there are")
    made.add_argument("--turns", type=int, default=3, help="of every side; they alternate, the fastest counts")
    made.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs; the figures mean nothing")
    return made


def use_threads(threads: int) -> None:
    """Limit torch, OpenMP and BLAS for the rest of the process, and print on what everything runs."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    print(f"hardware   {cpu_name()}, {os.cpu_count()} cores, {threads} thread(s), torch {torch.__version__}")


def seconds_of(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def fastest(works: Mapping[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Seconds of the fastest of ``turns`` calls of each; the sides take turns, so that a slow minute hits all."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(turns):
        for name, work in works.items():
            best[name] = min(best[name], seconds_of(work))
    return best


def gemm_peak(dtype: torch.dtype, side: int = 2048, turns: int = 5, device: str = "cpu") -> float:
    """Floating-point operations per second of a square product of matrices: what this machine does at its best."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def product() -> None:
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()

    product()
    return 2 * side**3 / min(seconds_of(product) for _ in range(turns))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log(values) over log(sizes)."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
