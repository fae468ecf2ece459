"""The anomaly table: planted embeddings that earn their AUROC, and one that only sees brightness."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearkin.anomalies import (
    Entry,
    InSet,
    anomaly_table,
    digit_sets,
    joint_map,
    judge_embeddings,
    judge_trivial,
    probe_predicts_auc,
)
from nearkin.anomalies.baseline_detectors import TRIVIAL, feature_scores, image_features, pixels
from nearkin.anomalies.digits import describe_digits
from nearkin.anomalies.ood_sets import OodSet
from nearkin.anomalies.outlier_overlap import apart
from nearkin.anomalies.published import CIFAR10, published_means
from nearkin.anomalies.table import compare
from nearkin.data import ImageSet
from nearkin.errors import ConfigError, DataError
from nearkin.search.exact import Neighbors, knn

CLASSES = ("a", "b", "c", "d")
Vectors = dict[str, NDArray[np.float32]]


def photos(n: int, seed: int) -> ImageSet:
    rng = np.random.default_rng(seed)
    images = rng.integers(40, 200, (n, 3, 1, 1)) + rng.integers(-40, 55, (n, 3, 16, 16))
    ids = np.array([f"{seed}/{i}" for i in range(n)])
    return ImageSet(np.clip(images, 0, 255).astype(np.uint8), ids, np.arange(n) % 4, CLASSES)


def digits(n: int, size: int) -> ImageSet:
    """Vertical bars: the "digit" k is a bar of width k + 1."""
    labels = np.arange(n) % 3
    images = np.zeros((n, 3, size, size), dtype=np.uint8)
    for image, k in zip(images, labels, strict=True):
        image[:, 2:-2, 4 : 5 + k] = 255
    return ImageSet(images, np.array([str(i) for i in range(n)]), labels, ("0", "1", "2"))


INSIDE = InSet(photos(160, 0), photos(80, 1))
SETS = digit_sets(digits(60, 16), digits(60, 12), INSIDE.train.images)


def test_the_fair_variant_decides_where_there_is_one() -> None:
    unseen = photos(20, 5).images
    sets = {s.name: s for s in digit_sets(digits(9, 16), digits(9, 12), INSIDE.train.images, unseen=unseen, name="d")}
    assert [name for name, item in sets.items() if item.shortcut_free] == ["d-recoloured-unseen"]
    assert [item.name for item in SETS if item.shortcut_free] == ["mnist-recoloured"]
    corner = sets["d-recoloured-unseen"].items.images[:, :, 0, 0]
    assert {tuple(c) for c in corner.tolist()} <= {tuple(c) for c in unseen[:, :, 0, 0].tolist()}


def blobs(labels: NDArray[np.int64] | None, n: int, seed: int) -> NDArray[np.float32]:
    """Classes far apart; what has no class lies where none is."""
    centre = np.full((n, 6), -6.0) if labels is None else 6 * np.eye(4, 6)[labels]
    return (centre + np.random.default_rng(seed).normal(size=(n, 6))).astype(np.float32)


def oracle() -> Vectors:
    vectors = {"train": blobs(INSIDE.train.labels, 160, 0), "test": blobs(INSIDE.test.labels, 80, 1)}
    return vectors | {item.name: blobs(None, 60, 2 + k) for k, item in enumerate(SETS)}


def near_oracle() -> Vectors:
    """Classes that overlap with each other and with what is foreign, so that every figure lies between 0 and 1."""
    return {
        name: (Z + np.random.default_rng(9).normal(0, 6, Z.shape)).astype(np.float32) for name, Z in oracle().items()
    }


def test_lists_of_the_classes_give_what_a_search_among_all_gives() -> None:
    """Another engine's lists, which nothing may replace, are here those of the exact search."""

    def elsewhere(*args: Any, **more: Any) -> Neighbors:
        return knn(*args, **more)

    vectors, scores = near_oracle(), ["knn2", "knn-norm", "lof"]
    a, b = (
        judge_embeddings(vectors["train"], vectors["test"], vectors, INSIDE, SETS, scores=scores, find=find)
        for find in (knn, elsewhere)
    )
    for item in SETS:
        for score in scores:
            assert 0 < a["ood"][item.name][score]["AUROC"] < 1
            assert a["ood"][item.name][score]["AUROC"] == pytest.approx(b["ood"][item.name][score]["AUROC"], abs=1e-4)
        assert a["resembled"][item.name] == b["resembled"][item.name]
    assert a["most_in"] == b["most_in"]


def test_vectors_of_a_set_are_asked_for_once() -> None:
    vectors, asked = near_oracle(), []

    class Counted(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            asked.append(name)
            return super().__getitem__(name)

    judge_embeddings(vectors["train"], vectors["test"], Counted(vectors), INSIDE, SETS)
    assert asked == [item.name for item in SETS]


def test_the_pixel_control_is_the_score_of_raw_pixels() -> None:
    parts = {"train": INSIDE.train, "test": INSIDE.test} | {item.name: item.items for item in SETS}
    vectors = {name: pixels(items.images) for name, items in parts.items()}
    learned = judge_embeddings(vectors["train"], vectors["test"], vectors, INSIDE, SETS, scores=["knn2"])
    control = judge_trivial(INSIDE, SETS)
    for key in ("near", "one_class"):
        assert control[key]["pixel-knn"]["mean"] == pytest.approx(learned[key]["knn2"]["mean"], abs=1e-4)
    for item in SETS:
        own, other = control["ood"][item.name]["pixel-knn"]["AUROC"], learned["ood"][item.name]["knn2"]["AUROC"]
        assert own == pytest.approx(other, abs=1e-4)


def brightness(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([images.mean(axis=(1, 2, 3)), np.ones(len(images))], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def table() -> dict[str, object]:
    found = anomaly_table(
        {"oracle": oracle(), "brightness": brightness},
        INSIDE,
        SETS,
        accuracies={"oracle": 0.9, "brightness": 0.3},
        scores=("knn2", "mahalanobis"),
    )
    return json.loads(json.dumps(found, allow_nan=False))  # type: ignore[no-any-return]


def test_verdict_tells_merit_from_shortcut(table: dict) -> None:
    verdict = {item["method"]: item for item in table["verdict"]["methods"]}
    assert table["primary"] == "knn2"  # the fixed one was not asked for
    assert verdict["oracle"]["earned"] is True and verdict["brightness"]["earned"] is False
    assert "oracle: earned" in " ".join(table["verdict"]["text"])
    easy = next(text for text in table["verdict"]["text"] if text.startswith("mnist:"))
    assert "needs no learning" in easy and "proves nothing" in easy
    assert {row["set"] for row in verdict["oracle"]["against"]} == {item.name for item in SETS} | {"held-out class"}
    best = table["verdict"]["best_trivial"]["mnist"]
    assert best["AUROC"] == max(score["AUROC"] for score in table["details"]["trivial"]["ood"]["mnist"].values())


def test_rows_hold_every_method_set_and_score(table: dict) -> None:
    names = {item.name for item in SETS}
    rows = {(row["method"], row["set"], row["score"]): row for row in table["rows"]}
    for where in names:
        for score in ("knn2", "mahalanobis"):
            assert rows["oracle", where, score]["AUROC"] > 0.99
        assert {score for method, w, score in rows if method == "trivial" and w == where} == set(TRIVIAL)
    assert (
        rows["oracle", "held-out class", "knn2"]["AUROC"] > 0.95 > rows["brightness", "held-out class", "knn2"]["AUROC"]
    )
    assert rows["oracle", "one-class", "knn2"]["AUROC"] > 0.95
    assert rows["oracle", "mnist", "knn2"]["AUPR_OUT"] > 0.99 and rows["oracle", "mnist", "knn2"]["FPR@95"] < 0.05
    assert table["probe"]["mnist"]["rho"] is None and "too few" in table["probe"]["mnist"]["statement"]
    assert table["overlap"]["names"][0] == "oracle-s0 knn2" and len(table["overlap"]["matrix"]) == 4


def test_details_name_images_and_spread(table: dict) -> None:
    found = table["details"]["oracle"]["ood"]["mnist"]["knn2"]
    assert len(found["most"]) == 7 == len(found["least"])
    ids = set(INSIDE.test.ids.tolist())
    assert all((row["id"] in ids) == (row["set"] == "in") for row in found["most"] + found["least"])
    spread = table["details"]["oracle"]["spread"]["mnist"]
    assert 0 < spread["variance_ratio"] < 0.5  # one blob against four
    assert "roc" not in found
    alike = table["details"]["oracle"]["resembled"]["mnist"]
    assert alike["n"] == 60 and set(alike["ids"]) <= set(INSIDE.train.ids.tolist())


def test_trivial_held_out_scores_are_those_of_the_rest() -> None:
    found = judge_trivial(INSIDE, SETS[:1], curves=True)
    labels, test = INSIDE.train.labels, image_features(INSIDE.test.images)
    rest = feature_scores(image_features(INSIDE.train.images[labels != 2]), test)["border"]
    inside, out = rest[INSIDE.test.labels != 2], rest[INSIDE.test.labels == 2]
    expected = (out[:, None] > inside).mean() + 0.5 * (out[:, None] == inside).mean()
    assert found["near"]["border"]["classes"][2]["AUROC"] == pytest.approx(expected)
    assert found["ood"]["mnist"]["border"]["roc"]


def test_digits_and_strokes_of_the_most_anomalous() -> None:
    item = SETS[0]
    thick = np.asarray(item.thickness)
    assert thick[item.items.labels == 2].min() > thick[item.items.labels == 0].max()
    found = describe_digits(thick + np.random.default_rng(0).normal(0, 1e-3, 60), item)
    assert found["thickness_rho"] > 0.8 and found["thickness_most"] > found["thickness_all"]
    shares = {row["digit"]: row["share_of_most"] for row in found["per_digit"]}
    assert shares == {"0": 0, "1": 0, "2": 1} and found["n_most"] == 3
    assert "above all 2 (100 % against 33 %)" in found["statement"]
    assert describe_digits(np.zeros(60), item)["thickness_rho"] is None


def test_seeds_are_joined_and_no_labels_means_undecided() -> None:
    bare = InSet(ImageSet(INSIDE.train.images, INSIDE.train.ids), ImageSet(INSIDE.test.images, INSIDE.test.ids))
    vectors = oracle()
    entries = [
        Entry("m", seed, judge_embeddings(vectors["train"], vectors["test"], vectors, bare, SETS, scores=("knn-norm",)))
        for seed in (0, 1)
    ]
    found = compare(entries, judge_trivial(bare, SETS), SETS)
    assert found["verdict"]["methods"][0]["earned"] is None and found["verdict"]["methods"][0]["n_seeds"] == 2
    assert "cannot be decided" in found["verdict"]["methods"][0]["text"]
    assert found["overlap"]["matrix"][0][1] == 1
    alone = compare(entries, None, [item.describe() for item in SETS])
    assert "give the images" in alone["verdict"]["methods"][0]["text"]


def test_what_cannot_be_decided_is_said_once() -> None:
    vectors = oracle()
    found = judge_embeddings(vectors["train"], vectors["test"], {}, INSIDE, [], scores=("knn-norm",))
    trivial = judge_trivial(INSIDE, [])
    text = compare([Entry("m", 0, found), Entry("n", 0, found)], trivial, [])["verdict"]["text"]
    assert [line for line in text if "cannot be decided" in line] == [text[0]]
    assert len(text) == 3 and text[1].startswith("m: held-out class ") and text[2].startswith("n: held-out class ")
    one = compare([Entry("m", 0, found)], trivial, [])["verdict"]["text"]
    assert len(one) == 1 and one[0].startswith("m: cannot be decided")
    bare = compare([Entry("m", 0, found), Entry("n", 0, found)], None, [])["verdict"]["text"]
    assert len(bare) == 1 and "give the images" in bare[0]


def test_outliers_belong_to_what_shares_them() -> None:
    keys = [("m", 0, "s"), ("m", 1, "s"), ("n", 0, "s"), ("m", 0, "t")]
    matrix = np.eye(4)
    for i, j, value in ((0, 1, 0.8), (0, 2, 0.6), (1, 2, 0.1), (0, 3, 0.4), (1, 3, 0.1), (2, 3, 0.1)):
        matrix[i, j] = matrix[j, i] = value
    found = apart(keys, {"matrix": matrix.tolist(), "chance": 0.01})
    assert {name: (item["mean"], item["pairs"]) for name, item in found["between"].items()} == {
        "methods": (0.6, 1), "seeds": (0.8, 1), "scores": (0.4, 1),
    }  # fmt: skip
    assert "to the set more than to the model" in found["statement"]
    matrix[0, 2] = matrix[2, 0] = 0.1
    assert "to the method more than to the set" in apart(keys, {"matrix": matrix.tolist(), "chance": 0.01})["statement"]
    matrix[0, 1] = matrix[1, 0] = 0.3
    assert "to the run before the set" in apart(keys, {"matrix": matrix.tolist(), "chance": 0.01})["statement"]
    assert "One seed" not in found["statement"]
    alone = apart(keys[::2], {"matrix": np.eye(2).tolist(), "chance": 0.01})
    assert "With one seed" in alone["statement"] and alone["between"]["seeds"]["mean"] is None


def test_published_means_stand_beside_cifar10_only() -> None:
    assert published_means(["a", "b"]) is None
    text = published_means(sorted(CIFAR10))
    assert text is not None and "SimCLR 0.879" in text and "not the same experiment" in text


def test_a_collapsed_embedding_scores_half() -> None:
    same: Vectors = {name: np.ones((len(Z), 6), np.float32) for name, Z in oracle().items()}
    found = anomaly_table({"collapsed": same}, INSIDE, SETS)
    rows = [row for row in found["rows"] if row["method"] == "collapsed"]
    assert len(rows) == 5 * len(SETS) + 4 and all(row["AUROC"] == 0.5 for row in rows)
    assert found["verdict"]["methods"][0]["earned"] is False
    json.dumps(found, allow_nan=False)


def test_probe_predicts_auc() -> None:
    assert probe_predicts_auc([(0.1 * i, 0.5 + 0.04 * i) for i in range(7)])["rho"] == pytest.approx(1)
    up = probe_predicts_auc([(0.1 * i, 0.5 + 0.04 * i) for i in range(6)])
    assert up["p"] == pytest.approx(2 / 720) and "goes with it" in up["statement"]
    down = probe_predicts_auc([(0.1 * i, 0.9 - 0.04 * i) for i in range(9)])
    assert down["rho"] == pytest.approx(-1) and "goes against it" in down["statement"]
    rng = np.random.default_rng(0)
    assert "says little" in probe_predicts_auc(rng.uniform(size=(8, 2)).tolist())["statement"]
    assert probe_predicts_auc([(0.5, 0.1 * i) for i in range(5)])["rho"] is None
    assert probe_predicts_auc([])["n"] == 0


def test_joint_map_keeps_sets_apart_that_are_apart() -> None:
    vectors = oracle()
    found = joint_map({"in": vectors["test"], "out": vectors["mnist"]}, most=50, n_jobs=1)
    assert found.member.tolist() == [0] * 50 + [1] * 50 and found.rows.max() < 80
    assert found.maps["tsne"].purity is not None and found.maps["tsne"].purity > 0.95
    out = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert len(out["maps"]["pca"]["x"]) == 100 and out["names"] == ["in", "out"]


def test_bad_input() -> None:
    vectors = oracle()
    with pytest.raises(DataError, match="no vectors for the set 'mnist-bilinear'"):
        judge_embeddings(vectors["train"], vectors["test"], {"mnist": vectors["mnist"]}, INSIDE, SETS, scores=("knn2",))
    with pytest.raises(DataError, match="'test' has 79 vectors for 80 images"):
        judge_embeddings(vectors["train"], vectors["test"][1:], vectors, INSIDE, SETS)
    with pytest.raises(ConfigError, match="no vectors for test"):
        anomaly_table({"m": {"train": vectors["train"]}}, INSIDE, SETS)
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([], None, SETS)
    with pytest.raises(DataError, match="not the same"):
        digit_sets(digits(60, 16), digits(59, 12), INSIDE.train.images)
    assert isinstance(SETS[0], OodSet)
