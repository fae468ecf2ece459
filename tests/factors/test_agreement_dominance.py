"""Which factor dominates: planted winners found, uncertainty said, raw pixels subtracted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nearkin.errors import DataError
from nearkin.factors.agreement import FactorAgreement, differences, dominance, neighbor_agreement, telling_rows
from nearkin.factors.factors import Factor
from nearkin.fileio import to_json
from nearkin.search.exact import knn

RNG = np.random.default_rng(0)
N = 400
LABELS = RNG.integers(0, 4, N)
BORDER = RNG.uniform(size=(N, 1)).astype(np.float32)
COLOUR = RNG.uniform(size=(N, 1)).astype(np.float32)
X = RNG.uniform(size=(N, 1)).astype(np.float32)
FACTORS = [
    Factor("border_colour", "background", BORDER),
    Factor("mean_colour", "colour", COLOUR),
    Factor("object_x", "position", X),
    Factor("edge_density", "other", X),
]
BY = {"class": np.eye(4)[LABELS], "background": BORDER, "colour": COLOUR, "position": X}


def of(Z: np.ndarray, k: int = 6, rows: int = N) -> FactorAgreement:
    Z = np.asarray(Z[:rows], dtype=np.float32)
    near = knn(Z, Z, k, metric="l2", exclude_self=True)
    return neighbor_agreement(near, LABELS[:rows], [f.take(np.arange(rows)) for f in FACTORS], resamples=200)


@pytest.mark.parametrize("group", list(BY))
def test_the_planted_factor_dominates(group: str) -> None:
    found = dominance(of(BY[group] + 0.01 * RNG.normal(size=(N, 1))), resamples=200)
    assert found.dominant == group and next(iter(found.leading)) == group
    assert found.text.startswith(f"Neighbours agree most in {group}: {group}")
    assert "edge" not in found.text and found.differences == () and found.gains is None


def test_random_neighbours_and_ties_are_no_winner() -> None:
    nothing = dominance(of(RNG.normal(size=(N, 8))), resamples=200)
    assert nothing.dominant is None and "nothing" in nothing.text
    a = of(BORDER)
    row = a.rows[1]
    tie = FactorAgreement(N, 6, 0, (row, type(row)(**(row.__dict__ | {"factor": "mean_colour", "group": "colour"}))))
    found = dominance(tie, resamples=200)
    assert found.dominant is None and "too close to call" in found.text


def test_differences_from_raw_pixels() -> None:
    mine, pixels = of(np.eye(4)[LABELS]), of(BORDER)
    found = dominance(mine, pixels, resamples=200)
    by = {item.factor: item for item in found.differences}
    values = {row.factor: row.value for row in mine.rows}, {row.factor: row.value for row in pixels.rows}
    for name, item in by.items():
        assert item.value == pytest.approx(values[0][name] - values[1][name])  # type: ignore[operator]
    assert found.gains == "class" and by["class"].interval is not None and by["class"].interval[0] > 0.5
    assert by["border_colour"].value < -0.5 and found.differences[0].factor == "class"
    assert "Against raw pixels they gain most in class: class +" in found.text
    json.dumps(to_json(found), allow_nan=False)


def test_no_difference_from_itself() -> None:
    found = of(BORDER)
    for item in differences(found, found, resamples=100):
        assert item.value == 0 and item.interval == (0, 0)
    assert "gain in nothing for certain" in dominance(found, found, resamples=100).text


def test_other_images_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="same images and k"):
        differences(of(BORDER), of(BORDER, rows=300))
    with pytest.raises(DataError, match="same images and k"):
        differences(of(BORDER), of(BORDER, k=5))


def test_nothing_varies() -> None:
    same = Factor("border_colour", "background", np.zeros((N, 1), dtype=np.float32))
    near = knn(BORDER, BORDER, 3, metric="l2", exclude_self=True)
    found = dominance(neighbor_agreement(near, None, [same]))
    assert found.dominant is None and "nothing can be said" in found.text


def test_telling_rows() -> None:
    found = of(BORDER)
    background, kind = telling_rows(found, n=5)
    assert len(background) == 5
    by = {row.factor: row for row in found.rows}
    assert (by["class"].near[background] >= 0.8).all()
    wrong = by["class"].near >= 0.8
    assert by["border_colour"].near[background].max() <= np.sort(by["border_colour"].near[wrong])[5]
    assert len(telling_rows(of(np.eye(4)[LABELS]), n=5)[1]) == 5 and len(kind) <= 5
    near = knn(BORDER, BORDER, 3, metric="l2", exclude_self=True)
    assert len(telling_rows(neighbor_agreement(near, None, FACTORS))[0]) == 0
