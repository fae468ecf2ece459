"""Notebook HTML: well-formed, escaped, points inside the picture."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from nearkin.format import curves_html, facts_html, scatter_html


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
