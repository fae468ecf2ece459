"""The explorer's server under load: many searches at once among many images, through HTTP on the loopback interface.

    python benchmarks/explore_load.py [--images 60000] [--dim 1024] [--searches 200] [--at-once 200] [--threads 1]

A real server (uvicorn, as 'nearkin explore' starts it) in a process of its own; the vectors are seeded Gaussians. Each of
--at-once clients sends "neighbours of a row" requests, one after another, --searches in all per round, and every answer's
rows are compared with a search made directly. Printed: percentiles of the time per search, searches per second, and the
server's peak memory. Uploads, which need a trained run, are not measured here.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from timing import cpu_name

from nearkin.embeddings import Embeddings
from nearkin.explore.collection import Collection
from nearkin.explore.computed import Finder
from nearkin.explore.guard import TOKEN_HEADER
from nearkin.explore.serve import HOST, open_socket
from nearkin.explore.server import create_app
from nearkin.explore.spaces import Space

_TOKEN = "benchmark"


def vectors(images: int, dim: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((images, dim), dtype=np.float32)


def serve(images: int, dim: int, threads: int, pipe: Connection) -> None:
    """The server's process: tells its port, and its peak memory when asked to end."""
    import threading

    import uvicorn

    ids = np.arange(images).astype(np.str_)
    made = Embeddings(vectors(images, dim), ids, None, np.full(images, "test"))
    collection = Collection("load", [Space("x", "x", made, Path("x.npy"))], [], [{}], None, lambda text: None)
    collection.finder(0)  # made before the clock starts, as in a page that has been opened
    taken = open_socket(0)
    config = uvicorn.Config(create_app(collection, _TOKEN), log_level="warning", access_log=False, ws="none")
    server = uvicorn.Server(config)
    with threadpool_limits(threads):
        threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True).start()
        while not server.started:
            time.sleep(0.01)
        pipe.send(taken.getsockname()[1])
        pipe.recv()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send(peak * (1 if sys.platform == "darwin" else 1024))
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="The explorer's server under load.")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--searches", type=int, default=200, help="per round (default 200)")
    parser.add_argument("--at-once", type=int, default=200, help="clients at the same time (default 200)")
    parser.add_argument("--rounds", type=int, default=3, help="the first is a warm-up and not counted")
    parser.add_argument("--threads", type=int, default=1, help="of the server's linear algebra")
    a = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(a.images, a.dim, a.threads, there), daemon=True)
    process.start()
    port = here.recv()
    rows = np.random.default_rng(1).integers(0, a.images, (a.rounds, a.searches))

    def search(row: int) -> tuple[float, list[int]]:
        link = f"http://{HOST}:{port}/api/neighbours/0/{row}?near=10&far=5"
        request = urllib.request.Request(link, headers={TOKEN_HEADER: _TOKEN})
        start = time.perf_counter()
        with urllib.request.urlopen(request, timeout=600) as reply:
            found = json.load(reply)
        return time.perf_counter() - start, [pair[0] for pair in found["near"]]

    times: list[float] = []
    whole = 0.0
    with ThreadPoolExecutor(a.at_once) as pool:
        for number, part in enumerate(rows.tolist()):
            start = time.perf_counter()
            answers = list(pool.map(search, part))
            if number or a.rounds == 1:
                whole += time.perf_counter() - start
                times += [seconds for seconds, _ in answers]
    here.send("end")
    peak = here.recv()
    finder = Finder(vectors(a.images, a.dim))
    for row, (_, near) in list(zip(rows[-1].tolist(), answers, strict=True))[:20]:
        assert near == finder.of_row(row, 10, 5).near.tolist(), "an answer under load differs from a direct search"

    print(f"hardware   {cpu_name()}, {os.cpu_count()} cores, {a.threads} thread(s) per search")
    print(f"task       {a.at_once} at once, {len(times)} searches among {a.images:,} x {a.dim}")
    marks = np.percentile(np.array(times) * 1000, [50, 90, 95, 99, 100])
    names = ("median", "90 %", "95 %", "99 %", "worst")
    print("time       " + ", ".join(f"{name} {ms:,.0f} ms" for name, ms in zip(names, marks, strict=True)))
    print(f"rate       {len(times) / whole:.1f} searches per second; server's peak memory {peak / 1024**2:,.0f} MiB")


if __name__ == "__main__":
    main()
