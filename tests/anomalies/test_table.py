"""The anomaly table: planted embeddings that earn their AUROC, and one that only sees brightness."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearkin.anomalies.baseline_detectors import TRIVIAL, feature_scores, image_features, pixels
from nearkin.anomalies.detectors import SCORES, TrainNeighbors
from nearkin.anomalies.diagnostics import describe_digits
from nearkin.anomalies.ood_eval import OodEvaluation, evaluate_baselines, evaluate_vectors
from nearkin.anomalies.ood_sets import InSet, OodSet, digit_sets
from nearkin.anomalies.study_step import joint_map
from nearkin.anomalies.table import AnomalyTable, JudgedRun, compare, probe_predicts_auc, table_of
from nearkin.data import ImageSet
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.evaluate.published import CIFAR10, published_means
from nearkin.fileio import from_json, to_json
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
        evaluate_vectors(TrainNeighbors(vectors["train"], find), vectors["test"], vectors, INSIDE, SETS, scores=scores)
        for find in (knn, elsewhere)
    )
    for item in SETS:
        for score in scores:
            first, second = (found.ood[item.name][score].auroc.value for found in (a, b))
            assert 0 < first < 1 and first == pytest.approx(second, abs=1e-4)
    assert a.resembled is not None and a.resembled == b.resembled and a.most_in == b.most_in


def test_vectors_of_a_set_are_asked_for_once() -> None:
    vectors, asked = near_oracle(), []

    class Counted(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            asked.append(name)
            return super().__getitem__(name)

    evaluate_vectors(vectors["train"], vectors["test"], Counted(vectors), INSIDE, SETS)
    assert asked == [item.name for item in SETS]


def test_the_pixel_control_is_the_score_of_raw_pixels() -> None:
    parts = {"train": INSIDE.train, "test": INSIDE.test} | {item.name: item.items for item in SETS}
    vectors = {name: pixels(items.images) for name, items in parts.items()}
    learned = evaluate_vectors(vectors["train"], vectors["test"], vectors, INSIDE, SETS, scores=["knn2"])
    control = evaluate_baselines(INSIDE, SETS)
    for own, other in ((control.near, learned.near), (control.one_class, learned.one_class)):
        assert own is not None and other is not None
        assert own["pixel-knn"].mean == pytest.approx(other["knn2"].mean, abs=1e-4)
    for item in SETS:
        area, expected = control.ood[item.name]["pixel-knn"].auroc, learned.ood[item.name]["knn2"].auroc
        assert area.value == pytest.approx(expected.value, abs=1e-4)


def brightness() -> Vectors:
    """An embedding that sees nothing else."""
    parts = {"train": INSIDE.train, "test": INSIDE.test} | {item.name: item.items for item in SETS}
    means = {name: items.images.mean(axis=(1, 2, 3)) for name, items in parts.items()}
    return {name: np.stack([m, np.ones(len(m))], axis=1).astype(np.float32) for name, m in means.items()}


def compared(methods: dict[str, Vectors], scores: tuple[str, ...] = tuple(SCORES), **accuracies: float) -> AnomalyTable:
    """The table of one run per method."""
    runs = []
    for name, vectors in methods.items():
        found = evaluate_vectors(vectors["train"], vectors["test"], vectors, INSIDE, SETS, scores=scores, curves=False)
        runs.append(JudgedRun(name, 0, found, name, accuracies.get(name)))
    trivial = evaluate_baselines(INSIDE, SETS, curves=False)
    details = {run.method: run.evaluation for run in runs} | {"trivial": trivial}
    return compare(runs, trivial, SETS, primary=scores[0], details=details)


@pytest.fixture(scope="module")
def judged() -> AnomalyTable:
    methods = {"oracle": oracle(), "brightness": brightness()}
    return compared(methods, ("knn2", "mahalanobis"), oracle=0.9, brightness=0.3)


@pytest.fixture(scope="module")
def table(judged: AnomalyTable) -> dict[str, object]:
    """As it stands in uses.json."""
    return json.loads(json.dumps(to_json(judged), allow_nan=False))  # type: ignore[no-any-return]


def test_evaluations_are_read_back_equal(judged: AnomalyTable) -> None:
    """What a study has saved, it continues with."""
    for evaluation in (*judged.details.values(), evaluate_baselines(INSIDE, SETS, curves=True)):
        saved = json.loads(json.dumps(to_json(evaluation), allow_nan=False))
        again = from_json(OodEvaluation, saved)
        assert to_json(again) == saved and again.near == evaluation.near and again.digits == evaluation.digits
        assert again.spread == evaluation.spread and again.resembled == evaluation.resembled
    with_curves = again.ood["mnist"]["border"]
    assert with_curves.roc is not None and with_curves.roc.shape[1] == 2 and with_curves.histogram is not None
    assert with_curves.histogram.inside.dtype == np.int64


def test_verdict_tells_merit_from_shortcut(table: dict) -> None:
    verdict = {item["method"]: item for item in table["verdict"]["methods"]}
    assert verdict["oracle"]["earned"] is True and verdict["brightness"]["earned"] is False
    assert "oracle: earned" in " ".join(table["verdict"]["text"])
    easy = next(text for text in table["verdict"]["text"] if text.startswith("mnist:"))
    assert "needs no learning" in easy and "proves nothing" in easy
    assert {row["set"] for row in verdict["oracle"]["against"]} == {item.name for item in SETS} | {"held-out class"}
    best = table["verdict"]["best_trivial"]["mnist"]
    assert best["AUROC"] == max(score["AUROC"] for score in table["details"]["trivial"]["ood"]["mnist"].values())


def test_the_table_of_one_embedding_with_splits() -> None:
    """Its rows of the training split are what scores learn from; the verdict reads the fixed score where it is there."""
    vectors = near_oracle()
    Z, split = np.concatenate([vectors["test"], vectors["train"]]), np.repeat(["test", "train"], [80, 160])
    ids = np.concatenate([INSIDE.test.ids, INSIDE.train.ids])
    labels = np.concatenate([INSIDE.test.labels, INSIDE.train.labels])
    images = ImageSet(np.concatenate([INSIDE.test.images, INSIDE.train.images]), ids)
    made = Embeddings(Z, ids, labels, split, CLASSES)
    found = table_of(made, images, vectors, SETS, name="m", scores=("knn2", "knn-norm"))
    own = evaluate_vectors(vectors["train"], vectors["test"], vectors, INSIDE, SETS, scores=("knn2", "knn-norm"))
    assert to_json(found.details["m"]) == to_json(own) and list(found.details) == ["m", "trivial"]
    assert found.primary == "knn-norm"
    assert table_of(made, images, vectors, SETS, name="m", scores=("knn2",)).primary == "knn2"


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
    found = evaluate_baselines(INSIDE, SETS[:1], curves=True)
    labels, test = INSIDE.train.labels, image_features(INSIDE.test.images)
    rest = feature_scores(image_features(INSIDE.train.images[labels != 2]), test)["border"]
    inside, out = rest[INSIDE.test.labels != 2], rest[INSIDE.test.labels == 2]
    expected = (out[:, None] > inside).mean() + 0.5 * (out[:, None] == inside).mean()
    assert found.near is not None and found.near["border"].classes[2].auroc.value == pytest.approx(expected)
    assert found.ood["mnist"]["border"].roc is not None


def test_digits_and_strokes_of_the_most_anomalous() -> None:
    item = SETS[0]
    thick = np.asarray(item.thickness)
    assert thick[item.items.labels == 2].min() > thick[item.items.labels == 0].max()
    found = describe_digits(thick + np.random.default_rng(0).normal(0, 1e-3, 60), item)
    assert found.thickness_rho is not None and found.thickness_rho > 0.8 and found.thickness_most > found.thickness_all
    shares = {row.digit: row.share_of_most for row in found.per_digit}
    assert shares == {"0": 0, "1": 0, "2": 1} and found.n_most == 3
    assert "above all 2 (100 % against 33 %)" in found.statement
    assert describe_digits(np.zeros(60), item).thickness_rho is None


def test_seeds_are_joined_and_no_labels_means_undecided() -> None:
    bare = InSet(ImageSet(INSIDE.train.images, INSIDE.train.ids), ImageSet(INSIDE.test.images, INSIDE.test.ids))
    vectors = oracle()
    entries = [
        JudgedRun(
            "m", seed, evaluate_vectors(vectors["train"], vectors["test"], vectors, bare, SETS, scores=("knn-norm",))
        )
        for seed in (0, 1)
    ]
    found = compare(entries, evaluate_baselines(bare, SETS), SETS)
    verdict = found.verdict.methods[0]
    assert verdict.earned is None and verdict.n_seeds == 2 and "cannot be decided" in verdict.text
    assert found.overlap.overlap.matrix[0][1] == 1
    alone = compare(entries, None, SETS)
    assert "give the images" in alone.verdict.methods[0].text


def test_what_cannot_be_decided_is_said_once() -> None:
    vectors = oracle()
    found = evaluate_vectors(vectors["train"], vectors["test"], {}, INSIDE, [], scores=("knn-norm",))
    trivial = evaluate_baselines(INSIDE, [])
    text = compare([JudgedRun("m", 0, found), JudgedRun("n", 0, found)], trivial, []).verdict.text
    assert [line for line in text if "cannot be decided" in line] == [text[0]]
    assert len(text) == 3 and text[1].startswith("m: held-out class ") and text[2].startswith("n: held-out class ")
    one = compare([JudgedRun("m", 0, found)], trivial, []).verdict.text
    assert len(one) == 1 and one[0].startswith("m: cannot be decided")
    bare = compare([JudgedRun("m", 0, found), JudgedRun("n", 0, found)], None, []).verdict.text
    assert len(bare) == 1 and "give the images" in bare[0]


def test_published_means_stand_beside_cifar10_only() -> None:
    assert published_means(["a", "b"]) is None
    text = published_means(sorted(CIFAR10))
    assert text is not None and "SimCLR 0.879" in text and "not the same experiment" in text


def test_a_collapsed_embedding_scores_half() -> None:
    same: Vectors = {name: np.ones((len(Z), 6), np.float32) for name, Z in oracle().items()}
    found = compared({"collapsed": same})
    rows = [row for row in found.rows if row.method == "collapsed"]
    assert len(rows) == 5 * len(SETS) + 4 and all(row.auroc == 0.5 for row in rows)
    assert found.verdict.methods[0].earned is False
    json.dumps(to_json(found), allow_nan=False)


def test_probe_predicts_auc() -> None:
    assert probe_predicts_auc([(0.1 * i, 0.5 + 0.04 * i) for i in range(7)]).rho == pytest.approx(1)
    up = probe_predicts_auc([(0.1 * i, 0.5 + 0.04 * i) for i in range(6)])
    assert up.p == pytest.approx(2 / 720) and "goes with it" in up.statement
    down = probe_predicts_auc([(0.1 * i, 0.9 - 0.04 * i) for i in range(9)])
    assert down.rho == pytest.approx(-1) and "goes against it" in down.statement
    rng = np.random.default_rng(0)
    assert "says little" in probe_predicts_auc(rng.uniform(size=(8, 2)).tolist()).statement
    assert probe_predicts_auc([(0.5, 0.1 * i) for i in range(5)]).rho is None
    assert probe_predicts_auc([]).n == 0


def test_joint_map_keeps_sets_apart_that_are_apart() -> None:
    vectors = oracle()
    found = joint_map({"in": vectors["test"], "out": vectors["mnist"]}, most=50, n_jobs=1)
    assert found.member.tolist() == [0] * 50 + [1] * 50 and found.rows.max() < 80
    assert found.maps["tsne"].purity is not None and found.maps["tsne"].purity > 0.95
    out = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert len(out["maps"]["pca"]["x"]) == 100 and out["names"] == ["in", "out"]


def test_bad_input() -> None:
    vectors = oracle()
    with pytest.raises(DataError, match="no vectors for the set 'mnist-bilinear'"):
        evaluate_vectors(vectors["train"], vectors["test"], {"mnist": vectors["mnist"]}, INSIDE, SETS, scores=("knn2",))
    with pytest.raises(DataError, match="'test' has 79 vectors for 80 images"):
        evaluate_vectors(vectors["train"], vectors["test"][1:], vectors, INSIDE, SETS)
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([], None, SETS)
    with pytest.raises(DataError, match="not the same"):
        digit_sets(digits(60, 16), digits(59, 12), INSIDE.train.images)
    assert isinstance(SETS[0], OodSet)
