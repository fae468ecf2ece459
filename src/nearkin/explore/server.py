"""The page's server: reads of one Collection, and a search with a dropped image."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from numpy.typing import NDArray

from nearkin.data.decode import decode, to_square
from nearkin.errors import ConfigError, DataError, NearkinError
from nearkin.explore.collection import Collection
from nearkin.explore.guard import MOST_UPLOAD, Guard, same_token
from nearkin.explore.page import SERVED, asset, index_page
from nearkin.explore.spaces import Space
from nearkin.runs.run import Embed

MOST_SHOWN = 48


class Embedders:
    """Opens a run when it is first needed and keeps it. One query at a time: models are not made for threads."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self._open: dict[str, Embed] = {}
        self._lock = threading.Lock()

    def vector(self, space: Space, data: bytes) -> NDArray[np.float32]:
        """An image file's bytes -> float32 (D,).

        Raises:
            DataError: no image, or a damaged run. ConfigError: the space's run, layer or image size is not known.
        """
        if space.run is None:
            raise ConfigError(
                f"{space.title}: no run with weights is known; start with --run FOLDER to search with files."
            )
        try:
            image = decode(data)
        except ValueError as error:
            raise DataError(f"the file cannot be read: {error}.") from error
        with self._lock:
            size = space.run.image_size()
            if space.name not in self._open:
                self._open[space.name] = space.run.open(space.layer or None, device=self.device)
            made = self._open[space.name](to_square(image, size)[None])
        z: NDArray[np.float32] = made[0]
        return z


def create_app(collection: Collection, token: str, *, device: str = "auto", most_upload: int = MOST_UPLOAD) -> Guard:
    """The ASGI application. Every path below /api/ needs the token in the header X-Nearkin-Token."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    embedders = Embedders(device)
    errors: Callable[[Request, Exception], Awaitable[Response]] = _failed
    app.add_exception_handler(NearkinError, errors)
    _add_page(app, token)
    _add_reads(app, collection)

    @app.post("/api/search/{space}")
    async def search(request: Request, space: int, near: int = 8, far: int = 4) -> Response:
        # The body itself is the file. Its length is counted while it arrives: a header may be missing or lie.
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > most_upload:
                return PlainTextResponse(f"at most {most_upload // (1024 * 1024)} MiB can be sent.", 413)
        return await run_in_threadpool(
            _search, collection, embedders, _space(collection, space), bytes(data), near, far
        )

    return Guard(app, token, most_upload)


def _add_page(app: FastAPI, token: str) -> None:
    @app.get("/")
    def index(request: Request) -> Response:
        if not same_token(request.query_params.get("token", ""), token):
            return PlainTextResponse("Open the link that the terminal shows: it ends with the token.", 403)
        return HTMLResponse(index_page())

    @app.get("/assets/{name:path}")
    def assets(name: str) -> Response:
        # Looked up in a fixed list: no path is ever made of what was asked for.
        if name not in SERVED:
            return PlainTextResponse("no such file.", 404)
        return Response(asset(name), media_type=SERVED[name])


def _add_reads(app: FastAPI, collection: Collection) -> None:
    @app.get("/api/meta")
    def meta() -> Response:
        # In ASCII: a file name that is not valid UTF-8 could not be encoded.
        return Response(json.dumps(collection.describe()), media_type="application/json")

    @app.get("/api/column/{number}")
    def column(number: int) -> Response:
        if not 0 <= number < len(collection.columns):
            raise DataError(f"no column {number}.")
        return _floats(collection.columns[number].values)

    @app.get("/api/map/{space}/{kind}")
    def point_map(space: int, kind: str) -> Response:
        drawn = collection.map(_space(collection, space), kind)
        return JSONResponse({"note": drawn.note, "coords": _base64(drawn.coords)})

    @app.get("/api/score/{space}/{name}")
    def score(space: int, name: str) -> Response:
        column = collection.score(_space(collection, space), name)
        return JSONResponse({"groups": list(column.groups), "values": _base64(column.values)})

    @app.get("/api/neighbours/{space}/{row}")
    def neighbours(space: int, row: int, near: int = 8, far: int = 4) -> Response:
        if not 0 <= row < len(collection):
            raise DataError(f"no image {row}; there are {len(collection):,}.")
        nearest = collection.finder(_space(collection, space)).of_row(row, _count(near), _count(far))
        return JSONResponse(nearest.to_dict())

    @app.get("/api/sheet/{number}")
    def sheet(number: int) -> Response:
        if collection.pictures is None:
            raise DataError("there are no pictures; start with --images DATA.")
        return Response(collection.pictures.sheet(number), media_type="image/webp")

    @app.get("/api/picture/{row}")
    def picture(row: int) -> Response:
        if collection.pictures is None:
            raise DataError("there are no pictures; start with --images DATA.")
        return Response(collection.pictures.picture(row), media_type="image/webp")


def _search(collection: Collection, embedders: Embedders, space: int, data: bytes, near: int, far: int) -> Response:
    z = embedders.vector(collection.spaces[space], data)
    return JSONResponse(collection.finder(space).of_vector(z, _count(near), _count(far)).to_dict())


def _space(collection: Collection, number: int) -> int:
    if not 0 <= number < len(collection.spaces):
        raise DataError(f"no embedding {number}; there are {len(collection.spaces)}.")
    return number


def _count(wanted: int) -> int:
    return max(0, min(wanted, MOST_SHOWN))


def _floats(values: np.ndarray[Any, Any]) -> Response:
    return Response(values.astype("<f4").tobytes(), media_type="application/octet-stream")


def _base64(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


async def _failed(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 400)
