"""Peak memory of a whole study against the 4 GB it may take.

    python benchmarks/memory.py [DATA] [-- OPTIONS OF nearkin study]

Runs `nearkin study DATA OPTIONS` into a temporary folder in a process of its own, and reports the largest resident set that
the system saw in it. Without arguments: the built-in images with the preset of the demo.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

from timing import parser, use_threads

LIMIT = 4.0  # GB


def main() -> None:
    options = parser("Peak memory of a study.")
    options.add_argument("data", nargs="?", default="shapes")
    options.add_argument("rest", nargs="*", help="options of nearkin study, after --")
    a = options.parse_args()
    rest = a.rest or ["--preset", "quick"]
    if a.quick:
        rest = ["--preset", "quick", "--subset", "300", "--epochs", "1", "--methods", "vicreg,raw-pixels"]
    use_threads(a.threads)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nearkin", "study", a.data, *rest, "-o", f"{folder}/study", "--quiet"]
        environment = os.environ | {"OMP_NUM_THREADS": str(a.threads)}  # each thread has buffers of its own
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    print(f"task       nearkin study {a.data} {' '.join(rest)}")
    print(f"peak       {peak:.2f} GB")
    print(f"ratio      {peak / LIMIT:.2f} of {LIMIT:.0f} GB  (below 1: met)")


if __name__ == "__main__":
    main()
