"""Write report.html."""

from __future__ import annotations

from html import escape
from pathlib import Path

from nearkin.atomic import read_json, write_text


def build(study: Path, out: Path | None = None) -> Path:
    """Write the report of the study folder; return its path."""
    results = read_json(study / "results.json")
    rows = "".join(
        f"<tr><td>{escape(r['title'])}<td>{escape(r['layer'])}<td>"
        + ("-" if not r["linear"] else f"{100 * r['linear']['mean']:.2f}")
        for r in results["table"]
    )
    target = out or study / "report.html"
    write_text(target, f"<!doctype html><meta charset=utf-8><title>nearkin</title><table>{rows}</table>")
    return target
