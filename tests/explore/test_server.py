"""The page's server: what it answers, and to whom."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'nearkin[explore]'")
from fastapi.testclient import TestClient

from nearkin.explore.collection import Collection
from nearkin.explore.guard import CSP, Guard, host_is_loopback, same_token
from nearkin.explore.page import SERVED
from nearkin.explore.server import create_app
from tests.explore.conftest import HOSTILE

TOKEN = "t0ken-of-the-test"
HOST = "http://127.0.0.1:8808"
OWN = {"X-Nearkin-Token": TOKEN}
POST = OWN | {"Origin": HOST}
READS = ("meta", "column/0", "map/0/pca", "score/0/hubness", "neighbours/0/0", "sheet/0", "picture/0")


@pytest.fixture(scope="module")
def client(collection: Collection) -> Iterator[TestClient]:
    with TestClient(create_app(collection, TOKEN, device="cpu", most_upload=100_000), base_url=HOST) as made:
        yield made


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def png(root: Path) -> bytes:
    return (root / "set" / "train" / "light" / "01.png").read_bytes()


# What it answers.


def test_meta_describes_all(client: TestClient, collection: Collection) -> None:
    meta = client.get("/api/meta", headers=OWN).json()
    assert meta["ids"] == collection.spaces[0].embeddings.ids.tolist() and len(meta["ids"]) == 80
    assert [space["title"] for space in meta["spaces"]] == ["PCA, components", "OTHER, components"]
    assert all(space["searchable"] and space["first"] == "tsne" for space in meta["spaces"])
    assert [column["name"] for column in meta["columns"]] == ["class", "split"]
    assert meta["pictures"] == {"side": 16, "sheets": 1}


def test_columns_maps_scores_and_neighbours(client: TestClient, collection: Collection) -> None:
    made = collection.spaces[0].embeddings
    column = np.frombuffer(client.get("/api/column/0", headers=OWN).content, dtype="<f4")
    labels = made.labels
    assert labels is not None and column.tolist() == labels.tolist()
    stored = client.get("/api/map/0/tsne", headers=OWN).json()
    assert np.isfinite(floats(stored["coords"])).sum() == 2 * 20 and "20 of 80" in stored["note"]
    assert np.isfinite(floats(client.get("/api/map/1/pca", headers=OWN).json()["coords"])).all()
    assert floats(client.get("/api/score/0/hubness", headers=OWN).json()["values"]).sum() == 800
    both = [client.get(f"/api/neighbours/{s}/3?near=5&far=2", headers=OWN).json() for s in (0, 1)]
    assert both[0] == both[1]  # mirrored axes change no distance
    assert len(both[0]["near"]) == 5 and len(both[0]["far"]) == 2 and 3 not in [row for row, _ in both[0]["near"]]
    assert {labels[row] for row, _ in both[0]["near"]} == {labels[3]}


def test_a_dropped_image_finds_itself(client: TestClient, collection: Collection, root: Path) -> None:
    row = collection.spaces[0].embeddings.ids.tolist().index("train/light/01.png")
    found = client.post("/api/search/0?near=3", content=png(root), headers=POST).json()
    assert found["near"][0][0] == row and found["near"][0][1] < 1e-5 and len(found["near"]) == 3


def test_files_that_are_no_images_and_spaces_without_a_run(client: TestClient, root: Path) -> None:
    reply = client.post("/api/search/0", content=b"no image", headers=POST)
    assert reply.status_code == 400 and reply.text == "the file cannot be read: not an image."
    from nearkin.explore.collection import collect

    alone = collect(
        [root / "e.parquet"], images=None, tables=[], run=None, split="all", most=99, seed=0, say=lambda _: None
    )
    with TestClient(create_app(alone, TOKEN), base_url=HOST) as other:
        reply = other.post("/api/search/0", content=png(root), headers=POST)
        assert reply.status_code == 400 and "--run FOLDER" in reply.text
        assert other.get("/api/sheet/0", headers=OWN).text == "there are no pictures; start with --images DATA."


@pytest.mark.parametrize(
    "path",
    [
        "column/9",
        "column/-1",
        "map/7/pca",
        "map/0/spiral",
        "score/0/beauty",
        "neighbours/0/80",
        "neighbours/0/-1",
        "sheet/1",
    ],
)
def test_what_does_not_exist_is_one_plain_line(client: TestClient, path: str) -> None:
    reply = client.get(f"/api/{path}", headers=OWN)
    assert reply.status_code == 400 and reply.text and "\n" not in reply.text


# To whom.


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    "headers", [{}, {"X-Nearkin-Token": ""}, {"X-Nearkin-Token": TOKEN[:-1]}, {"X-Nearkin-Token": "ü"}]
)
def test_every_read_needs_the_token(client: TestClient, path: str, headers: dict[str, str]) -> None:
    raw = [(key, value.encode("utf-8")) for key, value in headers.items()]
    assert client.get(f"/api/{path}?token={TOKEN}", headers=raw).status_code == 401
    assert client.get(f"/api/{path}", headers=OWN).status_code == 200


def test_every_route_below_api_is_guarded(client: TestClient) -> None:
    """Also those that a later change adds: the guard looks at the path, before the routes do."""
    for path in ("/api/", "/api/search/0", "/api/new", "/api/../api/meta"):
        assert client.get(path).status_code == 401


def test_the_page_needs_the_token_in_its_link(client: TestClient) -> None:
    assert client.get(f"/?token={TOKEN}").status_code == 200
    for link in ("/", "/?token=", f"/?token={TOKEN}x"):
        assert client.get(link).status_code == 403


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, Any]] = []

    def compare(a: Any, b: Any) -> bool:
        seen.append((a, b))
        return bool(a == b)

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert same_token("a", "a") and not same_token("b", "a") and len(seen) == 2


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8808", "127.0.0.1.evil.example", "10.0.0.1:8808", "", "[::2]:1", "["]
)
def test_a_rebound_name_is_refused(client: TestClient, host: str) -> None:
    assert not host_is_loopback(host)
    assert client.get("/api/meta", headers=OWN | {"Host": host}).status_code == 421
    assert client.get(f"/?token={TOKEN}", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8808", "localhost:9", "localhost", "[::1]:8808"])
def test_loopback_names_are_served(client: TestClient, host: str) -> None:
    assert client.get("/api/meta", headers=OWN | {"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", "http://127.0.0.1:9999", "https://127.0.0.1:8808", HOST + "/"]
)
def test_a_post_of_another_page_is_refused(client: TestClient, root: Path, origin: str | None) -> None:
    headers = OWN | ({} if origin is None else {"Origin": origin})
    assert client.post("/api/search/0", content=png(root), headers=headers).status_code == 403


def test_a_read_with_a_foreign_origin_is_refused_too(client: TestClient) -> None:
    assert client.get("/api/meta", headers=OWN | {"Origin": "https://evil.example"}).status_code == 403
    reply = client.get("/api/meta", headers=POST)
    assert reply.status_code == 200 and "access-control-allow-origin" not in reply.headers


def test_uploads_are_limited_by_header_and_by_count(client: TestClient) -> None:
    assert client.post("/api/search/0", content=b"x" * 100_001, headers=POST).status_code == 413

    def chunks() -> Iterator[bytes]:  # sent without a Content-Length
        for _ in range(20):
            yield b"x" * 10_000

    assert client.post("/api/search/0", content=chunks(), headers=POST).status_code == 413
    assert client.post("/api/search/0", content=b"x", headers=POST | {"Content-Length": "-1"}).status_code == 413


def test_a_decompression_bomb_is_refused(client: TestClient) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    reply = client.post("/api/search/0", content=buffer.getvalue(), headers=POST)
    assert reply.status_code == 400 and "pixels" in reply.text


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../page.py",
        "/assets/%2e%2e/page.py",
        "/assets/..%2fpage.py",
        "/assets//etc/passwd",
        "/assets/index.html",
        "/assets/vendor/LICENSES.txt",
        "/assets/vendor/../../page.py",
        "/assets/",
    ],
)
def test_no_path_leads_out_of_the_assets(client: TestClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404 and "import" not in reply.text


@pytest.mark.parametrize("row", ["..%2f..%2fetc%2fpasswd", "../0", "0.png", "%2fetc%2fpasswd"])
def test_pictures_are_addressed_by_row_only(client: TestClient, row: str) -> None:
    assert client.get(f"/api/picture/{row}", headers=OWN).status_code in (404, 422)


@pytest.mark.parametrize("path", [f"/?token={TOKEN}", "/", "/api/meta", "/assets/main.js", "/nothing"])
def test_every_answer_carries_the_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"] == CSP and headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer" and headers["x-frame-options"] == "DENY"


def test_the_policy_refuses_inline_scripts_and_other_hosts() -> None:
    parts = {words[0]: words[1:] for words in (part.split() for part in CSP.split(";"))}
    assert parts["default-src"] == ["'none'"] and parts["frame-ancestors"] == ["'none'"]
    assert parts["script-src"] == ["'self'", "'unsafe-eval'"] and parts["connect-src"] == ["'self'"]
    assert "unsafe-inline" not in CSP and "http" not in CSP and "*" not in CSP


def test_assets_are_served_and_the_page_names_only_them(client: TestClient) -> None:
    page = client.get(f"/?token={TOKEN}").text
    named = re.findall(r'(?:src|href)="assets/([^"]+)"', page)
    assert sorted(named) == sorted(SERVED)
    for name in named:
        reply = client.get(f"/assets/{name}")
        assert reply.status_code == 200 and reply.headers["content-type"].startswith(SERVED[name])
    assert HOSTILE not in page and TOKEN not in page


def test_hostile_names_travel_as_json_only(client: TestClient) -> None:
    reply = client.get("/api/meta", headers=OWN)
    assert reply.headers["content-type"] == "application/json"
    assert any(HOSTILE in name for name in json.loads(reply.text)["ids"])


def test_repeated_headers_and_websockets_are_refused(client: TestClient) -> None:
    twice = [("X-Nearkin-Token", "wrong"), ("X-Nearkin-Token", TOKEN)]
    assert client.get("/api/meta", headers=twice).status_code == 400

    import asyncio

    sent: list[Any] = []

    async def inside(*_: Any) -> None:
        sent.append("reached")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(inside, TOKEN)({"type": "websocket"}, inside, send))  # type: ignore[arg-type]
    assert sent == []
