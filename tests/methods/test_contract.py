"""One contract for every method: it trains on a tiny set, embeds, is seeded, resumes, and keeps labels out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearkin.data.imageset import ImageSet, Splits
from nearkin.errors import ConfigError
from nearkin.methods import (
    METHODS,
    FitContext,
    Method,
    create,
    known_settings,
    method_class,
    with_needs,
)
from nearkin.runs.fit import method_settings

TINY: dict[str, Any] = {
    "encoder": "fast-tiny",
    "projector": (16, 8),
    "batch_size": 16,
    "epochs": 2,
    "optimizer": "adamw",
    "precision": "fp32",
    "decoder_width": 32,
    "code_dim": 8,
    "infer_steps": 3,
    "distill_epochs": 1,
    "w_size": 16,
    "out_dim": 8,
    "dim": 4,
    "max_nodes": 40,
    "components": 8,
    "predictor_hidden": 8,
    "side": 32,
    "slices": 16,
}
USES_LABELS = {"ngn-filtered", "ngn-oracle", "supervised"}


def make_splits(labelled: bool = True) -> Splits:
    rng = np.random.default_rng(0)

    def part(name: str, n: int) -> ImageSet:
        y = np.arange(n) % 2
        images = (rng.integers(0, 120, (n, 3, 16, 16)) + 100 * y[:, None, None, None]).astype(np.uint8)
        ids = np.array([f"{name}/{i}" for i in range(n)])
        return ImageSet(images, ids, y.astype(np.int64) if labelled else None, ("a", "b") if labelled else ())

    return Splits(part("train", 48), part("val", 20), part("test", 20))


def fit(name: str, folder: Path, splits: Splits, seed: int = 0) -> dict[str, np.ndarray]:
    """Train a method (and what it needs) and return its embedding of the test images."""
    out: dict[str, np.ndarray] = {}
    for each in with_needs((name,)):
        settings = {k: v for k, v in TINY.items() if k in known_settings(each)}
        method = create(each, settings, (3, 16, 16))
        (folder / each).mkdir(parents=True, exist_ok=True)
        from nearkin.fileio import write_json

        write_json(folder / each / "config.json", {"method": each, "seed": seed, "settings": method.settings})
        runs = {needed: folder / needed for needed in METHODS[each].needs}
        context = FitContext(splits, folder / each, seed=seed, device="cpu", progress=False, runs=runs)
        method.fit(context)
        method.test_losses(context)
        out = method.embed(splits.test.images)
        assert tuple(out) == method.layers and method.primary_layer in method.layers
    return out


@pytest.mark.parametrize("name", list(METHODS))
def test_contract(name: str, tmp_path: Path) -> None:
    if name == "hog":
        pytest.importorskip("skimage")
    splits = make_splits()
    made = fit(name, tmp_path / "a", splits)
    for z in made.values():
        assert z.shape[0] == 20 and z.dtype == np.float32 and np.isfinite(z).all()
    again = fit(name, tmp_path / "b", splits)
    assert all(np.array_equal(made[layer], again[layer]) for layer in made)
    if METHODS[name].trained:
        lines = (tmp_path / "a" / name / "metrics.jsonl").read_text().splitlines()
        assert sum('"kind": "step"' in line for line in lines) == 6
        assert not (tmp_path / "a" / name / "snapshots").exists()


@pytest.mark.parametrize("name", sorted(set(METHODS) - USES_LABELS - {"hog"}))
def test_labels_change_nothing(name: str, tmp_path: Path) -> None:
    """Training labels must not reach any method that does not say so."""
    with_labels, without = make_splits(), make_splits(labelled=False)
    a, b = fit(name, tmp_path / "a", with_labels), fit(name, tmp_path / "b", without)
    assert all(np.array_equal(a[layer], b[layer]) for layer in a)


def test_unlabelled_images_are_refused_where_labels_are_needed(tmp_path: Path) -> None:
    from nearkin.errors import DataError

    for name in USES_LABELS:
        with pytest.raises(DataError, match="need"):
            fit(name, tmp_path, make_splits(labelled=False))


@pytest.mark.parametrize("name", [name for name, info in METHODS.items() if not info.seeded and name != "hog"])
def test_methods_registered_as_unseeded_do_not_depend_on_the_seed(name: str, tmp_path: Path) -> None:
    """A study runs them once, whatever the number of seeds."""
    splits = make_splits()
    a, b = fit(name, tmp_path / "a", splits, seed=0), fit(name, tmp_path / "b", splits, seed=1)
    assert all(np.allclose(a[layer], b[layer], atol=1e-4) for layer in a)


def test_a_missing_extra_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util
    import tomllib

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    with pytest.raises(ConfigError, match=r"nearkin\[baselines\]"):
        create("hog", {}, (3, 16, 16))
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert any("scikit-image" in item for item in project["optional-dependencies"]["baselines"])


def test_settings_go_to_the_methods_that_know_them() -> None:
    assert "lr" in method_settings("vicreg", {"lr": 1, "components": 3}) and "components" not in known_settings(
        "vicreg"
    )
    assert method_settings("pca", {"lr": 1, "components": 3}) == {"components": 3}
    with pytest.raises(ConfigError, match="Did you mean 'code_dim'"):
        method_settings("vicreg", {"code_dm": 3})


def test_loss_is_finite_and_has_gradients_for_every_trained_net(tmp_path: Path) -> None:
    for name in ("barlow", "simclr", "byol", "simsiam", "wmse", "lejepa", "vicreg-4views"):
        settings = {k: v for k, v in TINY.items() if k in known_settings(name)}
        method = create(name, settings, (3, 16, 16))
        from nearkin.train.device import make_fabric

        method.fabric = make_fabric("cpu", "fp32")
        rng = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (16, 3, 16, 16), generator=rng, dtype=torch.uint8)
        loss, terms = method.loss(images, torch.arange(16), rng)
        loss.backward()
        assert torch.isfinite(loss) and all(torch.isfinite(v) for v in terms.values())
        trainable = [p for n, p in method.net.named_parameters() if p.requires_grad]
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trainable), name


def test_every_method_gives_the_whole_interface() -> None:
    for name in METHODS:
        assert issubclass(method_class(name), Method)
    with pytest.raises(TypeError, match="abstract"):
        Method({}, (3, 16, 16))  # type: ignore[abstract]
