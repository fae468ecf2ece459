"""The page's files, and all of them as one."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
VENDOR = "vendor/regl-scatterplot.bundle.js"
# In the order in which they are loaded; each adds to the global `nearkin`.
SCRIPTS = (VENDOR, "api.js", "model.js", "plot.js", "legend.js", "panel.js", "zoom.js", "marks.js", "main.js")
STYLE = "style.css"
INDEX = "index.html"
SERVED = {name: ("text/css" if name.endswith(".css") else "text/javascript") for name in (*SCRIPTS, STYLE)}


def asset(name: str) -> str:
    """The text of one of the page's files, by its name in this package."""
    return (ASSETS / name).read_text(encoding="utf-8")


def index_page() -> str:
    """The page as the server sends it: it names its style and scripts, and holds none."""
    scripts = "\n".join(f'<script defer src="assets/{name}"></script>' for name in SCRIPTS)
    head = f'<link rel="stylesheet" href="assets/{STYLE}">\n{scripts}'
    return asset(INDEX).replace("<!-- head -->", head).replace("<!-- end -->", "")


def single_page(data: str) -> str:
    """The page as one file, with ``data`` (JSON that is safe inside a script element). Only its own scripts may run."""
    scripts = [asset(name) for name in SCRIPTS]
    for text in scripts:
        assert "</script" not in text.lower()
    hashes = " ".join(f"'sha256-{_hash(text)}'" for text in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{asset(STYLE)}</style>'
    end = f'<script type="application/json" id="data">{data}</script>\n'
    end += "\n".join(f"<script>{text}</script>" for text in scripts)
    return asset(INDEX).replace("<!-- head -->", head).replace("<!-- end -->", end)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
