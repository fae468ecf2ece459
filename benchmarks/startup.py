"""Seconds until `nearkin --help` has printed, against a bare interpreter, and what it had to import.

python benchmarks/startup.py [--turns 5]
"""

from __future__ import annotations

import subprocess
import sys

from timing import fastest, parser, use_threads

LIMIT = 0.5
HEAVY = ("torch", "faiss", "sklearn", "scipy", "numpy", "pyarrow", "matplotlib", "PIL", "rich", "typer")
_LIST = "import sys, nearkin.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"


def run(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout


def main() -> None:
    options = parser("Start-up: nearkin --help.")
    a = options.parse_args()
    use_threads(a.threads)
    works = {"help": lambda: run("-m", "nearkin", "--help"), "bare python": lambda: run("-c", "pass")}
    for work in works.values():  # byte code is compiled and files are read once before
        work()
    best = fastest(works, 1 if a.quick else a.turns)
    loaded = set(run("-c", _LIST).split())
    print(f"nearkin --help       {best['help']:6.3f} s")
    print(f"bare python          {best['bare python']:6.3f} s")
    print(f"ratio to {LIMIT} s       {best['help'] / LIMIT:6.2f}  (below 1: met)")
    print(f"imported by then: {', '.join(name for name in HEAVY if name in loaded)}")


if __name__ == "__main__":
    main()
