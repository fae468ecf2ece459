"""Ports, missing packages, and a real server on the loopback interface."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from typing import Any

import pytest

from nearkin.errors import ConfigError
from nearkin.explore import serve as module
from nearkin.explore.collection import Collection
from nearkin.explore.serve import need_server, open_socket, serve


def test_the_socket_is_loopback_and_taken_ports_are_passed_over() -> None:
    first = open_socket(0)
    try:
        first.listen()
        host, port = first.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(ConfigError, match=f"cannot listen on port {port}"):
            open_socket(port)
    finally:
        first.close()
    with pytest.raises(ConfigError, match="between 0"):
        open_socket(70000)


def test_missing_packages_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs fastapi and uvicorn: pip install 'nearkin\[explore\]'") as caught:
        need_server()
    assert "\n" not in str(caught.value)


def test_it_serves_what_it_says_and_opens_the_browser(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'nearkin[explore]'")
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'nearkin[explore]'")

    servers: list[Any] = []

    class Kept(uvicorn.Server):  # type: ignore[misc,name-defined]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            servers.append(self)

    opened: list[str] = []
    said: list[str] = []
    monkeypatch.setattr(uvicorn, "Server", Kept)
    monkeypatch.setattr(module.webbrowser, "open", opened.append)
    run = threading.Thread(
        target=serve, args=(collection,), kwargs={"port": 0, "browser": True, "device": "cpu", "say": said.append}
    )
    run.start()
    try:
        end = time.monotonic() + 30
        while not (servers and servers[0].started and opened) and time.monotonic() < end:
            time.sleep(0.05)
        link = opened[0]
        assert (
            link.startswith("http://127.0.0.1:")
            and f"explore: {link}" in said[0]
            and len(link.split("token=")[1]) >= 32
        )
        with urllib.request.urlopen(link, timeout=10) as reply:
            assert b"<canvas" in reply.read() and "server" not in {name.lower() for name in dict(reply.headers)}
    finally:
        servers[0].should_exit = True
        run.join(30)
    assert not run.is_alive()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(link.split(":")[2].split("/")[0]))) != 0
