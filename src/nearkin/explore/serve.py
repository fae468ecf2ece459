"""Start the page's server on the loopback interface and open the browser."""

from __future__ import annotations

import importlib.util
import secrets
import socket
import threading
import webbrowser

from nearkin.errors import ConfigError
from nearkin.explore.collection import Collection
from nearkin.explore.spaces import Say

HOST = "127.0.0.1"
DEFAULT_PORT = 8808
_TRIES = 20


def need_server() -> None:
    """Raise ConfigError unless FastAPI and uvicorn are installed."""
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"nearkin explore needs {' and '.join(missing)}: pip install 'nearkin[explore]'. "
            "--export FILE.html works without."
        )


def open_socket(port: int | None) -> socket.socket:
    """A bound socket: the port asked for, 0 for any, or (None) the first free one from 8808 on.

    Raises ConfigError when the port is taken or not allowed.
    """
    if port is not None and not 0 <= port <= 65535:
        raise ConfigError(f"--port is {port}; it must lie between 0 (any) and 65535.")
    ports = range(DEFAULT_PORT, DEFAULT_PORT + _TRIES) if port is None else (port,)
    reason = ""
    for number in ports:
        taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((HOST, number))
            return taken
        except OSError as error:
            taken.close()
            reason = error.strerror or str(error)
    where = f"port {port}" if port is not None else f"ports {ports[0]} to {ports[-1]}"
    raise ConfigError(f"--port: cannot listen on {where} ({reason}). Give another, or 0 for any free one.")


def serve(collection: Collection, *, port: int | None, browser: bool, device: str, say: Say) -> None:
    """Serve until interrupted. Raises ConfigError when packages are missing or the port is taken."""
    need_server()
    import uvicorn

    from nearkin.explore.server import create_app

    taken = open_socket(port)
    token = secrets.token_urlsafe(24)
    link = f"http://{HOST}:{taken.getsockname()[1]}/?token={token}"
    app = create_app(collection, token, device=device)
    say(f"explore: {link}\nCtrl-C ends it.")
    if browser:
        threading.Timer(0.5, webbrowser.open, (link,)).start()
    # The access log would print the token of every link.
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, ws="none", server_header=False, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[taken])
    except KeyboardInterrupt:
        pass  # the usual end
    finally:
        taken.close()
