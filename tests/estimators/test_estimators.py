"""The estimators keep scikit-learn's contract and give what the methods give."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import nearkin
from nearkin import estimators
from nearkin.data import ImageSet, Splits
from nearkin.errors import ConfigError, DataError
from nearkin.methods import FitContext, create, default_settings
from tests.methods.test_contract import TINY
from tests.train.test_tensorboard import read

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
    legal = cls().get_params()
    return cls(**({k: v for k, v in TINY.items() if k in legal} | {"random_state": 0, "device": "cpu"} | more))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_constructors_only_store_the_methods_settings(cls: Any) -> None:
    params = cls().get_params()
    defaults = default_settings(cls.method)
    own = set(params) - set(estimators.base.COMMON)
    assert own == set(defaults) - {"keep", "checkpoint_seconds"} and all(params[k] is defaults[k] for k in own)
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
