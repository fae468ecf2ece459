"""Hostile files against every loader: whole files with bytes changed, and structures that no writer would make.

    python benchmarks/fuzz.py [--runs 10000] [--seed 0] [--only "vectors npz"]

--runs files per loader. Anything but a success or a NearkinError is a bug: hypothesis makes the file smaller, prints it,
and the command ends with 1. What is tried stands in tests/fuzz, whose test runs 20 files per loader.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Verbosity, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.fuzz.loaders import Loader, loaders


def main() -> None:
    parser = argparse.ArgumentParser(description="Hostile files against every loader.")
    parser.add_argument("--runs", type=int, default=10_000, help="files per loader (default 10,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(loaders()), help="one loader")
    a = parser.parse_args()
    warnings.simplefilter("error")  # as the tests have it: a warning about foreign bytes is unhandled content, too
    failed = [name for name in sorted(loaders()) if a.only in (None, name) and not holds(name, loaders()[name], a)]
    print(f"{len(failed)} loaders with bugs{': ' * bool(failed)}{', '.join(failed)}")
    sys.exit(bool(failed))


def holds(name: str, loader: Loader, a: argparse.Namespace) -> bool:
    """Whether no file broke the loader."""

    @hypothesis.seed(a.seed)
    @settings(
        max_examples=a.runs,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        verbosity=Verbosity.quiet,
    )
    @given(st.data())
    def attempt(data: st.DataObject) -> None:
        loader.survives(data.draw(loader.data))

    start = time.monotonic()
    try:
        attempt()
    except Exception:
        traceback.print_exc()
        return False
    finally:
        print(f"{name:<22} {a.runs:,} files  {time.monotonic() - start:7.1f} s", flush=True)
    return True


if __name__ == "__main__":
    main()
