"""Numbers as they are shown; the palette: colours apart for readers who see fewer of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

import nearkin
from nearkin.format import PALETTE, curves_html, facts_html, markdown_text, scatter_html, three_digits

# Machado, Oliveira, Fernandes: "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, severity 1.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def test_numbers_of_a_thousand_and_more_are_whole() -> None:
    values = (0.0123456, 1.0, 63.24, 999.4, 999.6, 2328.97, -1234.5, 1e6)
    assert [three_digits(v) for v in values] == ["0.0123", "1", "63.2", "999", "1,000", "2,329", "-1,234", "1,000,000"]
    assert [three_digits(v, "+") for v in (0.5, -0.5, 1329)] == ["+0.5", "-0.5", "+1,329"]


def lab(colours: Sequence[str], sight: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB (n, 3) of sRGB colours as seen with ``sight``."""
    c = np.array([[int(h[i : i + 2], 16) / 255 for i in (1, 3, 5)] for h in colours])
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ sight.T, 0, 1) @ TO_XYZ.T / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("sight", SIGHT)
def test_every_two_colours_stay_apart(sight: str) -> None:
    seen = lab(PALETTE, SIGHT[sight])
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=2) + 1e3 * np.eye(len(PALETTE))
    assert distance.min() > 16  # a just noticeable difference is about 2.3


def test_colours_show_on_white_and_on_black() -> None:
    lightness = lab(PALETTE, SIGHT["normal"])[:, 0]
    assert lightness.min() > 30 and lightness.max() < 85


def test_the_explorer_begins_with_the_same_colours() -> None:
    script = (Path(nearkin.__file__).parent / "explore/assets/plot.js").read_text()
    listed = ", ".join(f'"{colour}"' for colour in PALETTE)
    assert f"const PALETTE = [{listed}, " in script


# Pictures for notebooks


def test_facts_are_escaped() -> None:
    root = ElementTree.fromstring(facts_html({"<a>": "&", "n": 3}))
    assert ["".join(cell.itertext()) for cell in root.iter() if cell.tag in ("th", "td")] == ["<a>", "&", "n", "3"]


def test_points_lie_inside_and_groups_have_colours() -> None:
    xy = np.random.default_rng(0).normal(size=(30, 2)) * [1000, 1e-3]
    root = ElementTree.fromstring(scatter_html(xy, [None, "a", "b"] * 10, side=100))
    circles = list(root.iter("circle"))
    assert len(circles) == 30 and len({c.get("fill") for c in circles}) == 3
    assert all(0 <= float(c.get(axis) or -1) <= 100 for c in circles for axis in ("cx", "cy"))
    assert "nan" not in scatter_html(np.ones((3, 2)), [None] * 3)


def test_curves_are_drawn_to_scale_and_escaped() -> None:
    curves = {"train": [(1.0, 4.0), (2.0, 3.0), (4.0, 0.0)], "<val>": [(1.0, 2.0)]}
    root = ElementTree.fromstring(curves_html("<loss>", curves, width=200))
    texts = ["".join(item.itertext()) for item in root.iter("text")]
    assert texts == ["<loss>", "train", "<val>", "4", "0", "1", "epoch 4"]
    first, second = (
        np.array([[float(v) for v in pair.split(",")] for pair in (line.get("points") or "").split()])
        for line in root.iter("polyline")
    )
    x, y = first[:, 0], first[:, 1]
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(1 / 3, abs=0.01)
    assert (y[1] - y[0]) / (y[2] - y[0]) == pytest.approx(1 / 4, abs=0.01) and y[2] > y[0]  # SVG's y points down
    assert second[0].tolist() == [x[0], (y[0] + y[2]) / 2]
    assert curves_html("loss", {}) == "" and "nan" not in curves_html("loss", {"train": [(1.0, 2.0)]})


def test_markdown_text_breaks_no_table_and_is_no_html() -> None:
    assert markdown_text("a|b\n<script>") == "a\\|b &lt;script>"
