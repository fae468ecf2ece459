"""kill -9 at random moments of a tiny study, again and again: what is resumed must end as if nothing had happened.

    python benchmarks/kill.py [--kills 100] [--seed 0] [--methods vicreg,ngn,le-random,raw-pixels]

One study runs undisturbed. Then studies like it are killed at moments drawn evenly from its duration, resumed, killed
again, until --kills kills; each that reaches its end between two kills is compared with the undisturbed one: the same
files, and the same content but for the times in it (weights, vectors, maps and evaluations bit by bit). After every kill
'nearkin doctor' must call nothing broken. The parent has everything imported and forks a process per attempt, so that no
kill is spent on Python's start. Ends with 1 at the first difference and keeps the folders. Needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Before torch: threads of the parent would not live on in the forked children.
os.environ.setdefault("OMP_NUM_THREADS", "1")
from nearkin.errors import DataError
from nearkin.report import build, write_markdown
from nearkin.runs.check import examine
from nearkin.study.study import StudyConfig, run_study
from nearkin.train.checkpoint import load_tensors

SETTINGS = {
    "encoder": "fast-tiny", "projector": (8, 8), "batch_size": 16, "epochs": 6, "precision": "fp32", "dim": 4,
    "checkpoint_seconds": 0.001, "neighbors_from": "vicreg",
}  # fmt: skip
_TIMES = ("seconds", "images_per_s", "created")
_PAGES = ("report.html", "results.md")  # formatted from results.json; they hold its times


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill and resume a tiny study.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default="vicreg,ngn,le-random,raw-pixels")
    a = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="nearkin-kill-"))
    os.environ["NEARKIN_CACHE"] = str(root / "cache")
    images(root / "images")
    methods = tuple(a.methods.split(","))

    def study(name: str) -> Callable[[], None]:
        return lambda: whole_study(root / "images", root / name, methods)

    ended(begin(study("undisturbed")), "the undisturbed study")
    start = time.monotonic()  # of a second one: the first also pays for what is compiled and read from disk once
    ended(begin(study("killed")), "the second undisturbed study")
    duration = time.monotonic() - start
    ended(begin(lambda: compare(root / "undisturbed", root / "killed")), f"undisturbed, see {root}: it")
    shutil.rmtree(root / "killed")
    rng = np.random.default_rng(a.seed)
    kills = finished = 0
    while kills < a.kills or (root / "killed").exists():
        process = begin(study("killed"))
        if kills < a.kills:
            moment = time.monotonic() + rng.uniform(0, duration)
            while (
                time.monotonic() < moment and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
            ):
                time.sleep(0.005)
            os.kill(process, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if code == -signal.SIGKILL:
            kills += 1
            ended(begin(lambda: check(root / "killed")), f"doctor after kill {kills}, in {root}")
            continue
        if code:
            sys.exit(f"a study that was to resume after kill {kills} ended with {code}; see {root}")
        ended(begin(lambda: compare(root / "undisturbed", root / "killed")), f"after {kills} kills, see {root}: it")
        finished += 1
        shutil.rmtree(root / "killed")
    shutil.rmtree(root)
    print(f"{kills} kills in studies of {duration:.1f} s; {finished} studies ended, all like the undisturbed one")


def images(folder: Path) -> None:
    """Two classes that differ in brightness, 40 + 20 images."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 20)):
        for i in range(count):
            path = folder / split / ("dark", "light")[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 100, (16, 16, 3)) + 120 * (i % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(path)


def whole_study(source: Path, out: Path, methods: tuple[str, ...]) -> None:
    """What 'nearkin study' does."""
    config = StudyConfig(str(source), "quick", methods, (0,), settings=SETTINGS)
    run_study(config, out, progress=False, say=lambda text: None)
    write_markdown(out)
    build(out)


def begin(work: Callable[[], None]) -> int:
    """Fork a process that does ``work`` and ends with 0, or with 1 and a traceback; return its id."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(process: int, what: str) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code:
        sys.exit(f"{what} failed with {code}")


def check(out: Path) -> None:
    """Nothing is broken, however little is there."""
    try:
        states = {str(found.folder): found for found in examine(out)}
    except DataError:  # killed before the study wrote its first file
        assert not (out / "study.json").exists()
        return
    broken = [finding for found in states.values() if found.state == "broken" for finding in found.findings]
    assert not broken, broken


def compare(one: Path, other: Path) -> None:
    """The same files with the same content, but for times."""
    names = [sorted(str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()) for f in (one, other)]
    assert names[0] == names[1], sorted(set(names[0]) ^ set(names[1]))
    for name in names[0]:
        if Path(name).name not in _PAGES and not filecmp.cmp(one / name, other / name, shallow=False):
            assert content(one / name) == content(other / name), name


def content(path: Path) -> Any:
    """What a file says, without times."""
    match path.suffix:
        case ".json":
            return timeless(json.loads(path.read_text()))
        case ".jsonl":
            return [timeless(json.loads(line)) for line in path.read_text().splitlines()]
        case ".safetensors":
            tensors, meta = load_tensors(path)
            return {key: (str(t.dtype), t.shape, t.numpy().tobytes()) for key, t in tensors.items()}, timeless(meta)
    return path.read_bytes()


def timeless(value: Any) -> Any:
    """JSON without its times."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in _TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
