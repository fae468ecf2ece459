"""The page in a real browser: map, hover, neighbours, lasso, filters, marks, link, drop, and the exported file."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearkin.embeddings import Embeddings
from nearkin.explore.collection import Collection, collect
from nearkin.explore.page import export
from nearkin.explore.pictures import Pictures
from nearkin.explore.serve import open_socket
from tests.explore.conftest import HOSTILE

pytestmark = pytest.mark.slow
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
TOKEN = "token"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def served(collection: Collection) -> Iterator[str]:
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'nearkin[explore]'")
    pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install 'nearkin[explore]'")
    from nearkin.explore.server import create_app

    taken = open_socket(0)
    server = uvicorn.Server(uvicorn.Config(create_app(collection, TOKEN, device="cpu"), log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{taken.getsockname()[1]}/?token={TOKEN}"
    server.should_exit = True
    thread.join(30)
    taken.close()


@pytest.fixture(scope="module")
def link(collection: Collection) -> Iterator[str]:
    yield from served(collection)


class Page:
    """A page that remembers what it complained about and whom it asked."""

    def __init__(self, browser: Any, url: str) -> None:
        self.page = browser.new_page()
        self.page.set_viewport_size({"width": 1300, "height": 800})
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.open(url)

    def open(self, url: str) -> None:
        """Go to a page of ours and wait until it is drawn."""
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready]", timeout=120_000)

    def _heard(self, message: Any) -> None:
        # Drawing by the processor instead of a GPU makes Chromium remark on its own speed.
        if message.type in ("error", "warning") and "GL Driver Message" not in message.text:
            self.complaints.append(message.text)

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)

    def place(self, row: int) -> tuple[float, float]:
        """Where on the screen a row's point is."""
        x, y = self.run(
            f"(() => {{ const b = nearkin.$('stage').getBoundingClientRect(), p = nearkin.plot.position({row}); return [p[0] + b.left, p[1] + b.top]; }})()"
        )
        return x, y


def test_hover_click_neighbours_marks_and_link(browser: Any, link: str, collection: Collection) -> None:
    seen = Page(browser, link)
    page = seen.page
    row = seen.run("[...Array(nearkin.state.n).keys()].find(i => nearkin.plot.onMap(i))")
    x, y = seen.place(row)
    page.mouse.move(x - 40, y - 40)
    page.mouse.move(x, y)
    page.wait_for_selector("#tip:not([hidden])")
    page.mouse.click(x, y)
    page.wait_for_selector(".block:nth-of-type(2) .thumb, .block ~ .block .thumb")
    chosen = seen.run("nearkin.state.point")
    assert page.inner_text(".focus b") == str(collection.spaces[0].embeddings.ids[chosen])
    wanted = collection.finder(0).of_row(chosen, 10, 4)
    rows = [int(e.get_attribute("data-row")) for e in page.query_selector_all(".block >> nth=0 >> .thumb")]
    assert rows == [*wanted.near.tolist(), *wanted.far.tolist()]
    assert "blob:" in seen.run("document.querySelector('.block .thumb').style.backgroundImage")
    page.keyboard.press("2")
    assert seen.run("nearkin.marksCsv()").split("\r\n")[1].endswith(",mislabelled")
    with page.expect_download() as download:
        page.click("#marks >> text=Export CSV")
    assert download.value.suggested_filename == "marks.csv"
    assert Path(download.value.path()).read_bytes().decode() == seen.run("nearkin.marksCsv()")
    page.keyboard.press("e")
    page.wait_for_function("location.hash.includes('e=other')")
    address = page.url
    page.goto("about:blank")  # or the browser would only jump to the new fragment
    seen.open(address)
    assert seen.run("[nearkin.state.space, nearkin.state.point, nearkin.state.marks.size]") == [1, chosen, 1]
    assert seen.complaints == []
    assert all(url.startswith(("http://127.0.0.1:", "blob:", "data:", "about:")) for url in seen.asked)


def test_lasso_filters_scores_and_themes(browser: Any, link: str) -> None:
    seen = Page(browser, link)
    page = seen.page
    box = page.query_selector("#stage").bounding_box()
    left, top, right, bottom = box["x"] + 5, box["y"] + 60, box["x"] + box["width"] - 5, box["y"] + box["height"] - 5
    page.click("#lasso")
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 5)):
        page.mouse.move(x, y, steps=12)
    page.mouse.up()
    page.wait_for_function("nearkin.state.selection.length > 10")
    assert "images selected" in page.inner_text("#panel")
    page.click("#legend .key >> nth=0")
    assert page.inner_text("#status").startswith("40 of 80 images pass")
    page.select_option("#colour", "score:hubness@pca-s0/components")
    page.wait_for_selector("#legend canvas")
    page.evaluate("e => { e.value = 900; e.dispatchEvent(new Event('input')); }", page.query_selector("#legend input"))
    page.wait_for_function("nearkin.state.filters.size === 2")
    page.select_option("#map", "pca")
    page.wait_for_function("nearkin.plot.count() === 80")
    before = seen.run("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("Escape")
    page.click("#theme")
    assert seen.run("getComputedStyle(document.body).backgroundColor") != before
    assert seen.complaints == []


def test_the_keyboard_does_it_all(browser: Any, link: str) -> None:
    seen = Page(browser, link)
    page = seen.page
    page.keyboard.press("ArrowRight")
    first = seen.run("nearkin.state.point")
    assert first >= 0
    page.keyboard.press("ArrowRight")
    assert seen.run("nearkin.state.point") > first
    page.keyboard.press("ArrowLeft")
    assert seen.run("nearkin.state.point") == first
    page.wait_for_selector(".block .near .thumb")
    nearest = int(page.get_attribute(".block .near .thumb >> nth=0", "data-row"))
    page.keyboard.press("n")
    assert seen.run("nearkin.state.point") == nearest
    for key, mark in (("1", 1), ("3", 3), ("0", None)):
        page.keyboard.press(key)
        assert seen.run(f"nearkin.state.marks.get({nearest}) ?? null") == mark
    page.keyboard.press("l")
    assert page.get_attribute("#lasso", "aria-pressed") == "true"
    page.keyboard.press("/")
    page.keyboard.type(HOSTILE)
    page.keyboard.press("Enter")
    page.wait_for_function("nearkin.meta.ids[nearkin.state.point].includes('onerror')")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.is_visible("#help") and "nearest image" in page.inner_text("#help")
    page.keyboard.press("Escape")
    dark = seen.run("document.documentElement.dataset.theme ?? ''")
    page.keyboard.press("t")
    assert seen.run("document.documentElement.dataset.theme") != dark and seen.complaints == []


def zoom_in(seen: Page, row: int) -> None:
    """Turn the wheel over a row's point until there are thumbnails."""
    for _ in range(40):
        seen.page.mouse.move(*seen.place(row))
        seen.page.mouse.wheel(0, -200)
        seen.page.wait_for_timeout(100)
        if seen.run("nearkin.study.thumbnails()"):
            return
    raise AssertionError("no thumbnails, however near")


def test_thumbnails_at_deep_zoom_and_in_the_link(browser: Any, link: str) -> None:
    seen = Page(browser, link)
    page = seen.page
    assert seen.run("nearkin.study.thumbnails()") == 0 and not page.is_visible("#near")
    row = seen.run("[...Array(nearkin.state.n).keys()].find(i => nearkin.plot.onMap(i))")
    zoom_in(seen, row)
    x, y = seen.run(f"nearkin.plot.position({row})")
    drawn = f"nearkin.$('near').getContext('2d').getImageData({round(x)} * devicePixelRatio, {round(y)} * devicePixelRatio, 1, 1).data[3]"
    page.wait_for_function(f"{drawn} === 255")
    page.select_option("#colour", "score:hubness@pca-s0/components")
    page.wait_for_function("location.hash.includes('hubness') && location.hash.includes('v=')")
    page.wait_for_timeout(400)  # the link is written a moment after the last movement
    count, view, address = seen.run("nearkin.study.thumbnails()"), seen.run("nearkin.plot.view()"), page.url
    page.goto("about:blank")
    seen.open(address)
    page.wait_for_function(f"nearkin.study.thumbnails() === {count}")
    assert np.allclose(seen.run("nearkin.plot.view()"), view, atol=1e-3)
    assert seen.run("nearkin.state.colour") == "score:hubness@pca-s0/components"
    page.keyboard.press("r")
    page.wait_for_function("nearkin.study.thumbnails() === 0")
    assert not page.is_visible("#near") and seen.complaints == []


def test_a_dropped_file_is_searched_and_hostile_names_stay_text(
    browser: Any, link: str, root: Path, collection: Collection
) -> None:
    seen = Page(browser, link)
    data = (root / "set" / "train" / "light" / "01.png").read_bytes()
    seen.page.evaluate(
        """bytes => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(bytes)], '<img src=x onerror=alert(2)>.png', { type: 'image/png' }));
          for (const kind of ['dragenter', 'dragover', 'drop']) dispatchEvent(new DragEvent(kind, { dataTransfer: files, cancelable: true }));
        }""",
        list(data),
    )
    seen.page.wait_for_selector(".block ~ .block .thumb", timeout=30_000)
    first = int(seen.page.get_attribute(".block .thumb >> nth=0", "data-row"))
    assert collection.spaces[0].embeddings.ids[first] == "train/light/01.png"
    row = next(k for k, name in enumerate(collection.spaces[0].embeddings.ids.tolist()) if HOSTILE in name)
    seen.run(f"nearkin.choose([{row}])")
    seen.page.wait_for_selector(".block .thumb")
    assert (
        HOSTILE in seen.page.inner_text(".focus b")
        and seen.run("document.querySelectorAll('img[onerror]').length") == 0
    )
    assert seen.complaints == []


def test_the_exported_page_works_from_disk(browser: Any, collection: Collection, tmp_path: Path) -> None:
    seen = Page(browser, export(collection, tmp_path / "page.html").as_uri())
    seen.run("nearkin.choose([3])")
    seen.page.wait_for_selector(".block ~ .block .thumb")
    rows = [int(e.get_attribute("data-row")) for e in seen.page.query_selector_all(".block >> nth=0 >> .thumb")][:10]
    assert rows == collection.finder(0).of_row(3, 10, 0).near.tolist()
    seen.page.select_option("#colour", "score:cluster@pca-s0/components")
    seen.page.wait_for_function("nearkin.state.colour.startsWith('score:cluster')")
    assert seen.complaints == [] and all(url.startswith(("file:", "blob:", "data:")) for url in seen.asked)


def test_sixty_thousand_points(browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 60_000
    labels = rng.integers(0, 10, n)
    Z = (rng.normal(size=(10, 16))[labels] * 2 + rng.normal(size=(n, 16))).astype(np.float32)
    ids = np.array([f"{i}.png" for i in range(n)])
    Embeddings(Z, ids, labels, np.full(n, "train"), tuple("abcdefghij")).save(tmp_path / "e.parquet")
    large = collect(
        [tmp_path / "e.parquet"], images=None, tables=[], run=None, split=None, most=n, seed=0, say=lambda _: None
    )
    large.pictures = Pictures(rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8), np.arange(n))
    for url in served(large):
        seen = Page(browser, url)
        page = seen.page
        assert seen.run("nearkin.plot.count()") == n
        seen.run("nearkin.choose([7])")
        page.wait_for_selector(".block .thumb")
        x, y = seen.place(7)
        page.mouse.move(x - 30, y - 30)
        page.mouse.move(x, y)
        page.wait_for_selector("#tip:not([hidden]) .thumb")
        before = seen.run("nearkin.plot.view()")
        page.mouse.down()
        page.mouse.move(x + 60, y + 20, steps=5)
        page.mouse.up()
        page.wait_for_function(f"nearkin.plot.view()[12] !== {before[12]}")
        page.keyboard.press("r")
        page.keyboard.down("Shift")
        for k, (dx, dy) in enumerate(((-90, -90), (90, -90), (90, 90), (-90, 90), (-90, -80))):
            page.mouse.move(x + dx, y + dy, steps=8)
            if not k:
                page.mouse.down()
        page.mouse.up()
        page.keyboard.up("Shift")
        page.wait_for_function("nearkin.state.selection.length > 100", timeout=60_000)
        page.keyboard.press("Escape")
        zoom_in(seen, 7)
        assert 0 < seen.run("nearkin.study.thumbnails()") <= 150
        assert seen.complaints == []
