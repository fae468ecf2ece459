"""NGN: the right neighbours, as options say, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nearkin.data.imageset import ImageSet
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import write_json
from nearkin.methods import FitContext, create, method_info
from nearkin.methods.neighborhood import purity, same_class, train_neighbors, train_neighbors_in_class
from nearkin.train.device import make_fabric
from tests.methods.test_contract import TINY, make_splits

SETTINGS = {k: v for k, v in TINY.items() if k in ("encoder", "projector", "batch_size", "epochs", "precision")}


def test_exact_neighbors_and_purity() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    Z = (6 * y[:, None] + rng.normal(size=(40, 3))).astype(np.float32)
    near = train_neighbors(Z, 3, "l2")
    d = np.square(Z[:, None] - Z[None]).sum(2)
    np.fill_diagonal(d, np.inf)
    assert np.array_equal(near, np.argsort(d, axis=1)[:, :3])
    assert purity(near, y) == 1 and purity(near, None) is None
    # Without a label a neighbour is neither right nor wrong.
    assert purity(near, np.where(np.arange(40) % 2, y, -1)) == 1
    assert purity(near, np.where(np.arange(40) == 3, y, -1)) is None


def test_oracle_neighbours_share_the_class_and_are_others() -> None:
    y = np.array([0, 1, 2] * 10)
    items = ImageSet(np.zeros((30, 3, 8, 8), np.uint8), np.arange(30).astype(str), y, ("a", "b", "c"))
    near = same_class(items, 5, seed=0)
    assert (y[near] == y[:, None]).all() and (near != np.arange(30)[:, None]).all()
    lonely = ImageSet(items.images[:3], items.ids[:3], np.array([0, 0, 1]), ("a", "b"))
    with pytest.raises(DataError, match="one image"):
        same_class(lonely, 1, seed=0)


def test_the_nearest_of_the_class() -> None:
    rng = np.random.default_rng(0)
    y = np.array([0, 1, 2] * 10)
    Z = rng.normal(size=(30, 3)).astype(np.float32)
    items = ImageSet(np.zeros((30, 3, 8, 8), np.uint8), np.arange(30).astype(str), y, ("a", "b", "c"))
    d = np.square(Z[:, None] - Z[None]).sum(2)
    d[(y[:, None] != y[None]) | np.eye(30, dtype=bool)] = np.inf
    assert np.array_equal(train_neighbors_in_class(Z, 4, "l2", items), np.argsort(d, axis=1)[:, :4])
    assert purity(train_neighbors_in_class(Z, 9, "cosine", items), y) == 1
    few = train_neighbors_in_class(Z[:6], 3, "l2", items.take(np.arange(6)))  # two of each class
    assert few.tolist() == [[3] * 3, [4] * 3, [5] * 3, [0] * 3, [1] * 3, [2] * 3]
    with pytest.raises(DataError, match="class 'c' has one image"):
        train_neighbors_in_class(Z[:5], 2, "l2", items.take(np.arange(5)))
    with pytest.raises(DataError, match="neighbors_same_class=true.* need a label for every training image"):
        train_neighbors_in_class(Z, 2, "l2", ImageSet(items.images, items.ids))


def test_an_oracle_is_one_also_as_a_variant() -> None:
    for name in ("ngn@neighbors_same_class=true", "ngn@neighbors_from=labels", "ngn-filtered"):
        assert method_info(name).uses_labels
    assert not method_info("ngn@neighbors_k=5").uses_labels
    with pytest.raises(ConfigError, match="choose one"):
        create("ngn-oracle", SETTINGS | {"neighbors_same_class": True}, (3, 16, 16))


def test_second_view_is_a_neighbour_unaugmented(tmp_path: Path) -> None:
    splits = make_splits()
    method = create("ngn-pixels", SETTINGS, (3, 16, 16))
    method.fabric = make_fabric("cpu", "fp32")
    method.prepare(FitContext(splits, tmp_path))
    method.before_epoch(0)
    rows = torch.arange(10)
    images = torch.from_numpy(splits.train.images[:10])
    from nearkin.augment import normalize

    seen = set()
    for step in range(30):
        first, second = method.make_pair(images, rows, torch.Generator().manual_seed(step))
        assert torch.equal(first, normalize(images, method.recipe))
        candidates = normalize(torch.from_numpy(splits.train.images[method._neighbors[4]]), method.recipe)
        hits = [k for k in range(3) if torch.equal(second[4], candidates[k])]
        assert len(hits) == 1
        seen |= set(hits)
    assert seen == {0, 1, 2}


def test_augmented_both_images_are_views_of_their_own(tmp_path: Path) -> None:
    from nearkin.augment import make_views

    splits = make_splits()
    method = create("ngn-augmented", SETTINGS | {"neighbors_from": "pixels"}, (3, 16, 16))
    method.fabric = make_fabric("cpu", "fp32")
    method.prepare(FitContext(splits, tmp_path))
    method.before_epoch(0)
    rows, images = torch.arange(10), torch.from_numpy(splits.train.images[:10])
    found = method.make_pair(images, rows, torch.Generator().manual_seed(3))
    rng = torch.Generator().manual_seed(3)
    pick = torch.randint(3, (10,), generator=rng)
    others = torch.from_numpy(splits.train.images[method._neighbors[np.arange(10), pick.numpy()]])
    for view, source in zip(found, (images, others), strict=True):
        assert torch.equal(view, make_views(source, method.recipe, rng, n_views=1)[0])


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_the_metric_chooses_neighbours_in_training_and_of_held_out_images(tmp_path: Path, metric: str) -> None:
    from nearkin.augment import normalize

    splits = make_splits()
    method = create("ngn-pixels", SETTINGS | {"neighbors_metric": metric}, (3, 16, 16))
    method.fabric = make_fabric("cpu", "fp32")
    method.prepare(FitContext(splits, tmp_path))
    method.before_epoch(0)

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        x, y = (v.reshape(len(v), -1).astype(np.float64) for v in (a, b))
        if metric == "cosine":
            x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
        return np.square(x[:, None] - y[None]).sum(2)

    own = distances(splits.train.images, splits.train.images)
    np.fill_diagonal(own, np.inf)
    other = "cosine" if metric == "l2" else "l2"
    assert np.array_equal(method._neighbors, np.argsort(own, axis=1)[:, :3])
    pixels = splits.train.images.reshape(48, -1).astype(np.float32)
    assert not np.array_equal(method._neighbors, train_neighbors(pixels, 3, other))  # the set tells the metrics apart
    first, second = method.held_out_pair(torch.from_numpy(splits.val.images), torch.Generator())
    nearest = distances(splits.val.images, splits.train.images).argmin(axis=1)
    assert torch.equal(first, normalize(torch.from_numpy(splits.val.images), method.recipe))
    assert torch.equal(second, normalize(torch.from_numpy(splits.train.images[nearest]), method.recipe))


def test_refresh_renews_neighbours_and_records_purity(tmp_path: Path) -> None:
    splits = make_splits()
    method = create("ngn-pixels", SETTINGS | {"refresh_epochs": 2, "epochs": 5}, (3, 16, 16))
    method.fit(FitContext(splits, tmp_path, device="cpu", progress=False))
    text = (tmp_path / "neighbors.jsonl").read_text()
    assert [line.split('"epoch": ')[1][0] for line in text.splitlines()] == ["0", "2", "4"]


def test_renewed_neighbours_are_those_of_the_net_being_trained(tmp_path: Path) -> None:
    splits = make_splits()
    method = create("ngn-pixels", SETTINGS | {"refresh_epochs": 1, "epochs": 2}, (3, 16, 16))
    method.fit(FitContext(splits, tmp_path, device="cpu", progress=False))
    method.before_epoch(2)  # the epoch that would come next
    Z = method.embed(splits.train.images, (method.primary_layer,))[method.primary_layer].astype(np.float64)
    d = np.square(Z[:, None] - Z[None]).sum(2)
    np.fill_diagonal(d, np.inf)
    chosen = np.take_along_axis(d, method._neighbors, axis=1)
    np.testing.assert_allclose(chosen, np.sort(d, axis=1)[:, :3], rtol=1e-3)
    pixels = splits.train.images.reshape(48, -1) / np.float32(255)
    assert not np.array_equal(method._neighbors, train_neighbors(pixels.astype(np.float32), 3, "l2"))


def test_neighbours_under_a_run_that_reads_a_run_itself(tmp_path: Path) -> None:
    """Eigenmaps of VICReg embed through VICReg's run beside theirs; whoever opens them has to find it."""
    splits = make_splits()
    for name, needs in (("vicreg", ()), ("le-vicreg", ("vicreg",))):
        own = SETTINGS if name == "vicreg" else {"dim": 4, "graph_k": 5}
        made, folder = create(name, own, (3, 16, 16)), tmp_path / f"{name}-s0"
        runs = {needed: tmp_path / f"{needed}-s0" for needed in needs}
        made.fit(FitContext(splits, folder, device="cpu", progress=False, runs=runs))
        write_json(folder / "config.json", {"method": name, "seed": 0, "settings": made.settings})
    source = tmp_path / "le-vicreg-s0"
    ngn = create("ngn", SETTINGS | {"neighbors_from": str(source)}, (3, 16, 16))
    ngn.fit(FitContext(splits, tmp_path / "ngn-s0", device="cpu", progress=False))
    near = train_neighbors(made.embed(splits.train.images)["eigenmap"], 3, "l2")
    assert np.array_equal(ngn._neighbors, near)


def test_refusals(tmp_path: Path) -> None:
    splits = make_splits()
    with pytest.raises(ConfigError, match="no frozen representation 'vicreg'"):
        create("ngn", SETTINGS, (3, 16, 16)).fit(FitContext(splits, tmp_path, device="cpu", progress=False))
    with pytest.raises(ConfigError, match="neighbors_k is 48"):
        create("ngn-pixels", SETTINGS | {"neighbors_k": 48}, (3, 16, 16)).fit(
            FitContext(splits, tmp_path, device="cpu", progress=False)
        )
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        create("ngn", SETTINGS | {"neighbors_metric": "cosin"}, (3, 16, 16))
