"""Names and sources; the built-in set."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import numpy as np
import pytest

from nearkin import data as nd
from nearkin.data.shapes import CLASSES, SHARED_BACKGROUND, TEXTURES, shapes
from nearkin.errors import ConfigError, DataError
from nearkin.evaluate.knn import knn_accuracy


def test_names() -> None:
    assert nd.names() == ("shapes", "cifar10", "cifar100", "mnist", "fashion-mnist", "svhn", "stl10")


@pytest.mark.parametrize("name", [n for n in nd.names() if n != "shapes"])
def test_without_network_one_line_says_where_files_belong(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(DataError) as caught:
        nd.load(name, cache=tmp_path)
    text = str(caught.value)
    assert "\n" not in text and str(tmp_path / "downloads" / name) in text


def test_a_named_set_that_is_there_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    class Small:
        data = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
        targets = [0, 1] * 10
        classes = ["cat", "dog"]

        def __init__(self, root: str, train: bool, download: bool) -> None:
            assert not download

    monkeypatch.setattr(datasets, "CIFAR10", Small)
    found = nd.load("cifar10", cache=tmp_path)
    assert found.train.classes == ("cat", "dog") and found.test is not None
    assert np.array_equal(found.train.images[3], Small.data[3].transpose(2, 0, 1))


def test_unknown_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'cifar10'"):
        nd.load("cifar-10")
    with pytest.raises(DataError, match="no such file or folder"):
        nd.load("some/where")
    (tmp_path / "x.doc").write_text("")
    with pytest.raises(DataError, match="a file of this kind"):
        nd.load(str(tmp_path / "x.doc"))
    with pytest.raises(ConfigError, match="--labels is for folders"):
        nd.load("shapes", labels=tmp_path / "x.txt")


def test_remarks_name_the_first_skipped_files_and_count_the_rest(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images)
    skipped = tuple(nd.Skipped(f"{i}.png", "not an image") for i in range(7))
    found = dataclasses.replace(nd.load(str(tmp_path / "x.npz")), skipped=skipped, notes=("a note",))
    told = nd.remarks(found)
    assert told[:2] == ["a note", "skipped 0.png: not an image"] and len(told) == 7 and told[-1].startswith("2 more")


def test_describe_counts_duplicates(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    images[3] = images[0]
    np.savez(tmp_path / "x.npz", x_train=images, x_test=images[:2], y_train=[0, 1] * 3, y_test=[0, 1])
    found = nd.describe(nd.load(str(tmp_path / "x.npz")))
    assert found["splits"]["train"]["exact_duplicates"] == 1
    assert found["exact_duplicates_across_splits"] == 2
    assert found["splits"]["train"]["per_class"] == {"0": 3, "1": 3}


def test_the_built_in_set_at_another_size() -> None:
    made, small = nd.load("shapes"), nd.load("shapes", size=16)
    assert small.test is not None and small.train.images.shape[2:] == small.test.images.shape[2:] == (16, 16)
    assert small.train.ids.tolist() == made.train.ids.tolist() and small.fingerprint != made.fingerprint
    assert abs(float(small.train.images.mean()) - float(made.train.images.mean())) < 2


def test_seeded_and_balanced() -> None:
    a, b, c = shapes(400, 80), shapes(400, 80), shapes(400, 80, seed=1)
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert a.train.images.shape == (400, 3, 32, 32) and a.train.images.dtype == np.uint8
    assert a.train.labels is not None and np.bincount(a.train.labels).tolist() == [50] * 8
    assert set(a.train.factors) == {"background", "background_hue", "foreground_hue", "y", "x", "size", "angle"}


def test_one_pair_shares_its_backgrounds() -> None:
    data = shapes(2000, 10).train
    assert data.labels is not None
    for k, name in enumerate(CLASSES):
        textures = set(data.factors["background"][data.labels == k].tolist())
        assert textures == ({0, 1} if name in SHARED_BACKGROUND else set(range(len(TEXTURES))))


def test_pixels_are_a_poor_guide() -> None:
    data = shapes()
    assert data.test is not None and data.train.labels is not None and data.test.labels is not None
    flat = [s.images.reshape(len(s), -1).astype(np.float32) for s in (data.train, data.test)]
    accuracy = knn_accuracy(flat[0], data.train.labels, flat[1], data.test.labels)
    assert 0.125 < accuracy < 0.3  # chance is 0.125


def test_factors_do_not_give_the_class_away() -> None:
    data = shapes(4000, 10).train
    assert data.labels is not None
    for name in ("x", "y", "size", "angle", "background_hue", "foreground_hue"):
        means = [data.factors[name][data.labels == k].astype(float).mean() for k in range(8)]
        assert np.ptp(means) < 0.35 * data.factors[name].astype(float).std()
