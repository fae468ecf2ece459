"""Two Ray nodes on this machine, each of them a raylet with workers of its own; either may be lost."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import nearkin

NODE = {"num_cpus": 1, "object_store_memory": 80 * 1024**2}


@contextmanager
def two_nodes(*modules: str) -> Iterator[tuple[Any, Any]]:
    """The cluster and its second node; this process is connected. Workers get ``modules`` (tests) by value."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(nearkin.__file__).parents[1]))
        both = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        try:
            second = both.add_node(**NODE)
            both.wait_for_nodes()
            ray.init(address=both.address, log_to_driver=False)
            assert ray.cluster_resources()["CPU"] == 2
            for name in modules:  # the workers cannot import tests
                ray.cloudpickle.register_pickle_by_value(sys.modules[name])
            yield both, second
        finally:
            ray.shutdown()
            both.shutdown()


def lose(cluster: Any, node: Any, when: Callable[[], bool]) -> threading.Thread:
    """Kill a node with all that runs on it, as soon as ``when()``."""

    def wait() -> None:
        for _ in range(1200):
            if when():
                cluster.remove_node(node, allow_graceful=False)
                return
            time.sleep(0.1)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def one_left() -> bool:
    """Whether the cluster comes to know that one node is left."""
    import ray

    for _ in range(600):
        if len([node for node in ray.nodes() if node["Alive"]]) == 1:
            return True
        time.sleep(0.1)
    return False


def stop_here(node_id: str, mark: Path) -> None:
    """In a worker: on that node note it in the file ``mark`` and never go on; elsewhere wait until this has happened."""
    import ray

    if ray.get_runtime_context().get_node_id() == node_id:
        mark.write_text(node_id)
        time.sleep(600)
    for _ in range(1200):
        if mark.exists():
            return
        time.sleep(0.1)
    raise TimeoutError("the other node got nothing to do")
