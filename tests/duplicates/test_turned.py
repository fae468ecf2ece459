"""Turned and inverted copies: every orientation found wherever the embedding puts them, upright ones as without."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nearkin.duplicates.find import duplicate_sets, near_duplicates
from nearkin.duplicates.planted import plant, plant_turned
from nearkin.duplicates.registration import ORIENTATIONS, align, turn
from nearkin.duplicates.turned import TURNED, Frequencies
from nearkin.fileio import to_json

Textures = Callable[..., np.ndarray]


def test_turning_is_what_the_names_say() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(3, 3)
    want = {
        "upright": {image.tobytes()},
        "mirrored": {image[:, ::-1].tobytes()},
        "upside down": {image[::-1].tobytes()},
        "half turn": {np.rot90(image, 2).tobytes()},
        "quarter turn": {np.rot90(image, k).tobytes() for k in (1, 3)},
        "diagonal flip": {image.T.tobytes(), image[::-1, ::-1].T.tobytes()},
    }
    for name, images in want.items():
        assert {turn(image, o).tobytes() for o in range(8) if ORIENTATIONS[o] == name} == images
        inverted = "inverted" if name == "upright" else f"{name}, inverted"
        assert {(255 - turn(image, o)).tobytes() for o in range(8, 16) if ORIENTATIONS[o] == inverted} == images


@pytest.mark.parametrize("orientation", TURNED)
def test_candidates_name_the_orientation(textures: Textures, orientation: int) -> None:
    base, asked = textures(50), turn(textures(50)[:10], orientation)
    near, beyond = Frequencies(base).candidates(asked, 0)
    own = near[near.a == near.b]
    assert own.a.tolist() == list(range(10)) and own.agreement.min() > 0.999
    for a, b, o in zip(own.a, own.b, own.orientation, strict=True):
        assert (turn(base[b], int(o)) == asked[a]).all()
    assert len(near) == 20 and len(beyond) == 80 and not set(map(tuple, near.rows)) & set(map(tuple, beyond.rows))
    within, _ = Frequencies(np.concatenate([asked, base])).candidates(None, 0)
    assert (within.a < within.b).all()
    for a, b, o in zip(*(x[within.agreement > 0.999] for x in (within.a, within.b, within.orientation)), strict=True):
        assert b == a + 10 and (turn(base[a], int(o)) == asked[a]).all()


@pytest.mark.parametrize("orientation", TURNED)
def test_a_pair_is_aligned_in_its_orientation(textures: Textures, orientation: int) -> None:
    images, rows = textures(12), np.stack([np.arange(12)] * 2, axis=1)
    moved = turn(images, orientation)
    aligned = align(moved, images, rows, orientation=np.full(12, orientation))
    assert aligned.compared.all() and aligned.detail.min() > 0.98
    assert (aligned.flip == (np.linalg.det(_matrix(orientation)) < 0)).all()
    wrong = align(moved, images, rows, orientation=np.full(12, orientation ^ 8))
    assert wrong.detail[wrong.compared].max(initial=0) < 0.75


def _matrix(orientation: int) -> np.ndarray:
    """What an orientation does to rows and columns."""
    out = np.diag([-1 if orientation & 2 else 1, -1 if orientation & 1 else 1])
    return out[::-1] if orientation & 4 else out


def test_planted_turned_copies_are_found_and_the_upright_ones_as_before(textures: Textures) -> None:
    images = textures(400)
    turned = plant_turned(images[:200], 5, TURNED, count=56)
    upright = plant(images[200:], 3, kinds=("flip", "jpeg"), count=20)
    whole = np.concatenate([images, turned.images, upright.images])
    Z = np.random.default_rng(0).normal(size=(len(whole), 32)).astype(np.float32)  # knows nothing of turned copies
    Z[456:] = Z[200 + upright.source_row] + 0.01
    both, alone = near_duplicates(Z, whole), near_duplicates(Z, whole, turned=False)
    assert both.turned is not None and alone.turned is None and "turned" not in alone.to_dict()
    pairs = both.pairs[both.pairs.orientation >= 2]
    want = {(int(s), 400 + i) for i, s in enumerate(turned.source_row)}
    got = set(map(tuple, pairs.rows.tolist()))
    assert len(got & want) >= 0.75 * 56 and len(got - want) <= 2 and len(got) == both.turned.pairs
    rest = both.pairs[both.pairs.orientation < 2]
    assert rest.rows.tolist() == alone.pairs.rows.tolist() and (rest.score == alone.pairs.score).all()
    assert both.threshold == alone.threshold and both.calibration == alone.calibration
    assert to_json(both.turned)["calibration"]["copies_not_proposed"] < 0.3
    assert set(pairs.columns()["orientation"].tolist()) <= set(ORIENTATIONS[2:])
    sets = duplicate_sets(both.pairs, both, Z, whole)
    for a, b in got:
        assert sets.complete[a] == sets.complete[b] >= 0


def test_turned_copies_in_another_set(textures: Textures) -> None:
    base, asked = textures(300), textures(100, seed=1).copy()
    for i in range(40):
        asked[i] = turn(base[i], TURNED[i % len(TURNED)])
    rng = np.random.default_rng(0)
    Z, base_Z = (rng.normal(size=(n, 8)).astype(np.float32) for n in (100, 300))
    found = near_duplicates(Z, asked, base=base_Z, base_images=base)
    assert set(range(40)) <= set(found.rows.tolist()) and len(found.rows) <= 42
    assert found.precision is None  # nothing is known of the upright ones: there are none
    given = near_duplicates(Z, asked, base=base_Z, base_images=base, threshold=0.99)
    assert given.turned is not None and given.turned.threshold == 0.99 and len(given.rows) >= 36


def test_planted_copies_of_images_that_are_not_square_keep_their_shape(textures: Textures) -> None:
    planted = plant_turned(textures(5)[:, :, :20], 0, TURNED, count=28)
    assert planted.images.shape == (28, 3, 20, 32)
    assert set(planted.kind.tolist()) == {"upside down", "half turn", "inverted"}
