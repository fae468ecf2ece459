"""The estimators keep scikit-learn's contract and give what the methods give."""

from __future__ import annotations

import inspect
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import nearkin
from nearkin import LaplacianEigenmaps, estimators
from nearkin.data import ImageSet, Splits
from nearkin.errors import ConfigError, DataError
from nearkin.estimators import check_images
from nearkin.methods import FitContext, create, default_settings
from tests.methods.test_contract import TINY
from tests.train.test_record import read

CLASSES = [
    getattr(nearkin, name)
    for name in estimators.__all__
    if name not in ("ImageEmbedding", "InputError", "check_images")
]
Y = np.arange(48) % 2
X = (np.random.default_rng(0).integers(0, 120, (48, 16, 16, 3)) + 100 * Y[:, None, None, None]).astype(np.uint8)
X.flags.writeable = False  # as joblib hands arrays to workers
# scikit-learn's checks that need no fit. The others feed 2-D arrays of numbers, which are no images (LaplacianEigenmaps
# takes those, and passes all of them); what they check of a fit, test_fit_and_transform checks on images.
CHECKS = (
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_estimators_unfitted,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_mixin_order,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_set_params,
    estimator_checks.check_valid_tag_types,
)


def tiny(cls: Any, **more: Any) -> Any:
    own = {cls.renamed.get(k, k): v for k, v in TINY.items() if k in cls().get_params()}
    return cls(**(own | {"random_state": 0, "device": "cpu"} | more))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_constructors_only_store_the_methods_settings(cls: Any) -> None:
    params = cls().get_params()
    defaults = default_settings(cls.method)
    own = {k: v for k, v in params.items() if k not in estimators.COMMON}
    for setting, name in cls.renamed.items():  # the old name is there, to be told of
        assert own[setting] == "deprecated"
        own[setting] = own.pop(name)
    assert own == {k: v for k, v in defaults.items() if k not in ("keep", "checkpoint_seconds")}
    assert {k: type(v) for k, v in own.items()} == {k: type(defaults[k]) for k in own}
    changed = cls(random_state=7).set_params(layer="x")
    again = clone(changed)
    assert again.get_params() == changed.get_params() and again is not changed
    assert set(vars(cls())) == set(params)
    with pytest.raises(ConfigError, match="Did you mean 'device'"):
        cls(devise="cpu")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_scikit_learns_checks_without_data(cls: Any, check: Any) -> None:
    check(cls.__name__, cls())


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_fit_and_transform(cls: Any) -> None:
    if cls is nearkin.HOG:
        pytest.importorskip("skimage")
    with pytest.raises(NotFittedError):
        tiny(cls).transform(X)
    labels = Y if cls is nearkin.Supervised else None
    made = tiny(cls)
    assert made.fit(X, labels) is made and made.get_params() == tiny(cls).get_params()
    learned = set(vars(made)) - set(made.get_params())
    assert learned and all(name.endswith("_") or name.startswith("_") for name in learned)
    Z = made.transform(X)
    assert Z.dtype == np.float32 and Z.shape == (48, len(made.get_feature_names_out())) and np.isfinite(Z).all()
    assert made.get_feature_names_out()[0] == cls.__name__.lower() + "0"
    assert np.array_equal(Z, tiny(cls).fit_transform(X.transpose(0, 3, 1, 2), labels))  # other layout, same seed
    with pytest.raises(DataError, match="was fitted on"):
        made.transform(X[:, :8, :8])


def test_it_is_the_method(tmp_path: Path) -> None:
    """The same images, seed and settings through the method itself give the same vectors."""
    made = tiny(nearkin.VICReg, validation_fraction=0.25).fit(X)
    order = np.random.default_rng([0, 13]).permutation(48)
    every = ImageSet(X.transpose(0, 3, 1, 2), np.arange(48).astype(str))
    splits = Splits(every.take(np.sort(order[12:])), every.take(np.sort(order[:12])), every.take(np.arange(0)))
    settings = {k: v for k, v in TINY.items() if k in default_settings("vicreg")}
    method = create("vicreg", settings, (3, 16, 16))
    method.fit(FitContext(splits, tmp_path, device="cpu", progress=False))
    assert np.array_equal(made.transform(X), method.embed(every.images)["backbone"])
    assert [line["epoch"] for line in made.history_ if line["kind"] == "epoch" and line["split"] == "val"] == [1, 2]


def test_labels_are_read_only_where_it_says_so() -> None:
    assert np.array_equal(tiny(nearkin.VICReg).fit_transform(X, Y), tiny(nearkin.VICReg).fit_transform(X))
    with pytest.raises(DataError, match="learns from labels"):
        tiny(nearkin.Supervised).fit(X)
    with pytest.raises(DataError, match="learns from labels"):
        tiny(nearkin.NGN, neighbors_from="labels").fit(X)
    with pytest.raises(DataError, match="expected"):
        tiny(nearkin.Supervised).fit(X, Y[:3])
    assert tiny(nearkin.NGN, neighbors_from="labels").fit_transform(X, Y).shape[0] == 48
    with pytest.raises(DataError, match="learns from labels"):
        tiny(nearkin.NGN, neighbors_from="pixels", neighbors_same_class=True).fit(X)
    filtered = tiny(nearkin.NGN, neighbors_from="pixels", neighbors_same_class=True).fit_transform(
        X, np.arange(48) < 24
    )
    assert not np.array_equal(filtered, tiny(nearkin.NGN, neighbors_from="pixels").fit_transform(X))


def test_old_names_of_parameters_work_and_are_told() -> None:
    wanted = tiny(nearkin.PixelPCA, n_components=5).fit_transform(X)
    with pytest.warns(FutureWarning, match="PixelPCA: 'components' is called 'n_components' now"):
        found = nearkin.PixelPCA(components=5, random_state=0, device="cpu").fit_transform(X)
    assert wanted.shape == (48, 5) and np.array_equal(found, wanted)
    with pytest.warns(FutureWarning, match="'graph_k' is called 'n_neighbors' now"):
        assert tiny(nearkin.LaplacianEigenmaps, graph_k=3).fit(X).method_.settings["graph_k"] == 3
    neighbors = tiny(nearkin.NGN, neighbors_from="pixels", n_neighbors=2).fit(X).method_.settings["neighbors_k"]
    assert neighbors == 2


def test_constructors_are_written_so_that_editors_complete_them() -> None:
    """Each parameter by keyword, with a type and a default that a reader of the signature sees."""
    signature = inspect.signature(nearkin.VICReg)
    assert {p.kind for p in signature.parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    hints = get_type_hints(nearkin.VICReg.__init__)
    assert (
        hints["epochs"] is int and hints["projector"] == tuple[int, ...] and signature.parameters["lr"].default == 2e-3
    )
    for cls in CLASSES:
        assert set(inspect.signature(cls).parameters) == set(cls().get_params())
    again = pickle.loads(pickle.dumps(nearkin.VICReg(epochs=3)))
    assert again.get_params() == nearkin.VICReg(epochs=3).get_params()


def test_in_a_pipeline_and_a_grid_search() -> None:
    pipe = make_pipeline(tiny(nearkin.VICReg, epochs=1), StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    search = GridSearchCV(pipe, {"vicreg__invariance_weight": [1.0, 25.0]}, cv=2, error_score="raise").fit(X, Y)
    assert search.best_score_ > 0.9  # the classes differ in brightness
    assert search.best_estimator_.named_steps["vicreg"].get_params()["epochs"] == 1


def test_set_output() -> None:
    pytest.importorskip("pandas")
    frame = tiny(nearkin.PixelPCA).set_output(transform="pandas").fit_transform(X)
    assert list(frame.columns)[:2] == ["pixelpca0", "pixelpca1"] and len(frame) == 48


def test_a_run_folder_is_kept_continued_and_protected(tmp_path: Path) -> None:
    from nearkin.runs.check import check_run

    folder = tmp_path / "run"
    made = tiny(nearkin.VICReg, run_dir=folder).fit(X)
    weights = (folder / "weights.safetensors").stat().st_mtime_ns
    again = tiny(nearkin.VICReg, run_dir=str(folder)).fit(X)
    assert np.array_equal(made.transform(X), again.transform(X))
    assert (folder / "weights.safetensors").stat().st_mtime_ns == weights
    assert check_run(folder).state == "finished"
    with pytest.raises(ConfigError, match="other parameters"):
        tiny(nearkin.VICReg, run_dir=folder, epochs=1).fit(X)
    with pytest.raises(ConfigError, match="other parameters, random_state or images"):
        tiny(nearkin.VICReg, run_dir=folder).fit(X[::-1])
    graph = tiny(nearkin.LaplacianEigenmaps, features_from=str(folder)).fit(X)
    assert graph.transform(X).shape == (48, 4)


def test_tensorboard_writes_beside_the_metrics(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run_dir, which is None" if find_spec("tensorboard") else "pip install"):
        tiny(nearkin.VICReg, tensorboard=True).fit(X)
    pytest.importorskip("tensorboard")
    for _ in range(2):  # the second time the run is only read
        made = tiny(nearkin.VICReg, tensorboard=True, run_dir=tmp_path / "run", validation_fraction=0.25).fit(X)
        found = read(tmp_path / "run")
        assert len(found["step/loss"]) == sum(line["kind"] == "step" for line in made.history_)
        assert len(found["val/loss"]) == 2 and found["train/loss"][-1][0] == len(found["step/loss"])


def test_illegal_values_are_told() -> None:
    with pytest.raises(ConfigError, match="unknown layer"):
        tiny(nearkin.VICReg, layer="bakbone").fit(X)
    with pytest.raises(ConfigError, match="validation_fraction"):
        tiny(nearkin.VICReg, validation_fraction=1.5).fit(X)
    with pytest.raises(ConfigError, match="random_state"):
        tiny(nearkin.PixelPCA, random_state="x").fit(X)
    with pytest.raises(ConfigError, match="n_views"):
        tiny(nearkin.VICReg, n_views=1).fit(X)
    with pytest.raises(DataError, match="identical"):
        tiny(nearkin.PixelPCA).fit(np.zeros_like(X))
    with pytest.raises(TypeError, match="base class"):
        estimators.ImageEmbedding()


def test_random_state_none_differs_and_a_state_object_repeats() -> None:
    a, b = (tiny(nearkin.RandomEncoder, random_state=None).fit_transform(X) for _ in range(2))
    assert not np.array_equal(a, b)
    c, d = (tiny(nearkin.RandomEncoder, random_state=np.random.RandomState(3)).fit_transform(X) for _ in range(2))
    assert np.array_equal(c, d)


# Which arrays are images, and what the others are told.

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)


def test_both_layouts_are_the_same_images() -> None:
    assert np.array_equal(check_images(IMAGES), IMAGES)
    assert np.array_equal(check_images(IMAGES.transpose(0, 2, 3, 1)), IMAGES)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (IMAGES.astype(np.float32), "dtype float32"),
        (IMAGES[0], r"\(N, 3, H, W\) or \(N, H, W, 3\)"),
        (IMAGES[:, :1], "Grey ones"),
        (IMAGES[:, :, :3, :3], "can be read as"),
        (IMAGES[:, :, :5], "square"),
        (IMAGES[:0], "0 images"),
        ("photos", "dtype"),
    ],
)
def test_other_input_is_told_what_is_legal(bad: object, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        check_images(bad)
    assert isinstance(caught.value, ValueError) and "\n" not in str(caught.value)


# Laplacian eigenmaps on features: scikit-learn's own checks, and its own spectral embedding as a reference.

# None is expected to fail; a check that comes to fail goes here with its reason.
EXPECTED: dict[str, str] = {}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [LaplacianEigenmaps(), LaplacianEigenmaps(n_components=2, n_neighbors=5, random_state=0)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def ring(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    rng = np.random.default_rng(0)
    return np.c_[np.cos(angle), np.sin(angle), 0.01 * rng.normal(size=(n, 3))], angle


def test_a_ring_is_recovered() -> None:
    X, angle = ring()
    Z = LaplacianEigenmaps(n_components=2, n_neighbors=6).fit_transform(X)
    found = np.unwrap(np.arctan2(Z[:, 1], Z[:, 0]))
    assert abs(np.corrcoef(found, angle)[0, 1]) > 0.999


def test_the_graphs_vectors_are_scikit_learns() -> None:
    """Up to sign, from the same weights: SpectralEmbedding of scikit-learn solves the same problem."""
    from sklearn.manifold import spectral_embedding

    from nearkin.methods.laplacian import knn_graph

    X = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    made = LaplacianEigenmaps(n_components=3, n_neighbors=8).fit(X)
    theirs = spectral_embedding(
        knn_graph(X, 8)[0].toarray(), n_components=3, drop_first=True, eigen_solver="arpack", random_state=0
    )
    for k in range(3):
        assert abs(np.corrcoef(made.embedding_.vectors[:, k], theirs[:, k])[0, 1]) > 0.999


def test_images_and_features_do_not_mix() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    features = np.random.default_rng(0).normal(size=(20, 5))
    with pytest.raises(DataError, match="fitted on features"):
        LaplacianEigenmaps().fit(features).transform(images)
    both = LaplacianEigenmaps(n_components=3).fit(features)
    assert both.fit(images).transform(images).shape == (20, 3)
    with pytest.raises(ConfigError, match="must be 'pixels'"):
        LaplacianEigenmaps(features_from="random").fit(features)
