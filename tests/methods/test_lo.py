"""LO: what the decoder is told, per-row optimisation, test-time inference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nearkin.augment import get_recipe, sample_view
from nearkin.errors import ConfigError
from nearkin.methods import FitContext, create
from nearkin.methods.free_codes import CodeTable, sparse_adam
from nearkin.methods.lo import conditions, laplacian_pyramid, positions, pyramid_l1
from nearkin.nets.heads import Decoder
from tests.methods.test_contract import TINY, make_splits


def test_pyramid_sums_back_to_the_image() -> None:
    x = torch.randn(2, 3, 16, 16)
    *bands, low = laplacian_pyramid(x)
    for band in reversed(bands):
        low = band + torch.nn.functional.interpolate(low, size=band.shape[-2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(low, x)
    assert float(pyramid_l1(x, x).max()) == 0 and pyramid_l1(x, x + 1).shape == (2,)


def test_a_constant_shift_costs_its_size_once() -> None:
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(pyramid_l1(x, x + 0.5), torch.full((2,), 0.5), atol=1e-5, rtol=0)


def test_positions_of_crop_and_flip() -> None:
    p = sample_view(get_recipe("none"), 2, 32, 32, torch.Generator().manual_seed(0))
    p = p._replace(boxes=torch.tensor([[0, 0, 32, 32], [16, 8, 8, 16]]), flip=torch.tensor([False, True]))
    assert positions(p, 32, 32).tolist() == [[-1, -1, 1, 1], [0.5, 0.0, -0.5, 0.5]]


def test_what_the_decoder_is_told_of_colours() -> None:
    p = sample_view(get_recipe("none"), 2, 32, 32, torch.Generator().manual_seed(0))
    assert conditions(p).tolist() == [[0.0] * 6] * 2
    one, two = torch.tensor([1.25, 1.0]), torch.tensor([0.1, 0.0])
    p = p._replace(jitter=p.jitter._replace(brightness=one, hue=two), gray=torch.tensor([False, True]))
    p = p._replace(threshold=torch.tensor([0.5, float("inf")]))
    torch.testing.assert_close(conditions(p), torch.tensor([[0.25, 0, 0, 0.5, 0, 1], [0.0, 0, 0, 0, 1, 0]]))


def test_loss_is_the_weighted_sum_of_its_terms(tmp_path: Path) -> None:
    """The drawn view against the rendered one, from codes of the batch's rows: by the formula, term by term."""
    from nearkin.augment import render
    from nearkin.train.device import make_fabric

    weights = {"reconstruction_weight": 3.0, "variance_weight": 0.5, "covariance_weight": 0.25}
    method = create("lo", SETTINGS | weights, (3, 16, 16))
    splits = make_splits()
    method.fit(FitContext(splits, tmp_path, device="cpu", progress=False))
    method.fabric = make_fabric("cpu", "fp32")
    images, rows = torch.from_numpy(splits.train.images[3:11]), torch.arange(3, 11)
    loss, terms = method.loss(images, rows, torch.Generator().manual_seed(1))
    p = sample_view(method.recipe, 8, 16, 16, torch.Generator().manual_seed(1))
    z = method.net.codes.table.weight[rows].detach()
    drawn = method.net.decoder(z, conditions(p), positions(p, 16, 16))
    z = z.double().numpy()
    c = np.cov(z, rowvar=False)
    variance = np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean()
    covariance = (np.square(c).sum() - np.square(np.diag(c)).sum()) / z.shape[1]
    expected = {"reconstruction": float(pyramid_l1(drawn.detach(), render(images, method.recipe, p)).mean())}
    expected |= {"variance": variance, "covariance": covariance}
    assert {name: float(value) for name, value in terms.items()} == pytest.approx(expected, rel=1e-4)
    assert float(loss.detach()) == pytest.approx(
        sum(weights[f"{name}_weight"] * v for name, v in expected.items()), rel=1e-4
    )


def test_naive_form_has_two_fixed_views_with_a_code_each(tmp_path: Path) -> None:
    """Rows 2 i and 2 i + 1 belong to image i, its views are the same in every batch, and invariance is between its codes."""
    from nearkin.train.device import make_fabric

    method = create("lo-naive", SETTINGS, (3, 16, 16))
    splits = make_splits()
    method.fit(FitContext(splits, tmp_path, device="cpu", progress=False))
    method.fabric = make_fabric("cpu", "fp32")
    table = method.net.codes.table.weight
    assert len(table) == 2 * len(splits.train)
    rows = torch.tensor([5, 2, 30])
    images = torch.from_numpy(splits.train.images[rows.numpy()])
    first = method.loss(images, rows, torch.Generator().manual_seed(1))[1]
    again = method.loss(images, rows, torch.Generator().manual_seed(2))[1]
    assert float(first["reconstruction"]) == float(again["reconstruction"])
    apart = (table[2 * rows] - table[2 * rows + 1]).square().mean()
    assert float(first["invariance"]) == pytest.approx(float(apart.detach()), rel=1e-5)
    alone = [float(method.loss(images[k : k + 2], rows[k : k + 2], None)[1]["reconstruction"]) for k in (0, 1)]
    assert alone[0] != alone[1]


def test_distilled_encoder_is_taught_standardised_codes() -> None:
    from nearkin.methods.lo import Distilled

    codes = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 3, 4]) + 5
    method = Distilled({"encoder": "fast-tiny", "distill_epochs": 1, "batch_size": 4}, codes, 16)
    target = ((codes - codes.mean(0)) / codes.std(0))[[7, 0]]
    loss, terms = method.loss_of_predictions([target, target + 1], torch.tensor([7, 0]))
    assert float(loss) == pytest.approx(0.5, rel=1e-5) and float(terms["views_apart"]) == pytest.approx(1, rel=1e-5)


def test_only_the_batchs_rows_move() -> None:
    table = CodeTable(10, 4)
    before = table.table.weight.detach().clone()
    optimizer = sparse_adam(table.table, 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        table(torch.tensor([1, 5])).square().sum().backward()
        optimizer.step()
    moved = (table.table.weight.detach() != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [1, 5]


def test_decoder_handles_sizes_that_are_no_multiple_of_8() -> None:
    d = Decoder(4, 6, 28, width=32)
    out = d(torch.randn(2, 4), torch.zeros(2, 6), torch.tensor([[-1.0, -1, 1, 1]]).expand(2, 4))
    assert out.shape == (2, 3, 28, 28)


SETTINGS = {k: TINY[k] for k in ("batch_size", "precision", "decoder_width", "code_dim", "distill_epochs")} | {
    "infer_steps": 5,
    "optimizer": "adamw",
    "epochs": 3,
}


def test_inference_is_per_image_and_reconstruction_falls(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flat = (
        rng.integers(0, 256, (48, 3, 1, 1)).repeat(16, axis=2).repeat(16, axis=3)
    )  # noise could not be drawn from a code
    splits = make_splits()
    splits = replace(splits, train=replace(splits.train, images=flat.astype(np.uint8)))
    method = create("lo", SETTINGS | {"epochs": 80, "lr": 0.01, "code_lr": 0.1, "recipe": "none"}, (3, 16, 16))
    method.fit(FitContext(splits, tmp_path, device="cpu", progress=False))
    whole = method.infer(splits.test.images)
    alone = method.infer(splits.test.images[7:8])
    assert np.allclose(whole[7], alone[0], atol=1e-4)
    lines = [line for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if '"split": "train"' in line]
    import json

    curve = [json.loads(line)["reconstruction"] for line in lines]
    assert curve[-1] < 0.6 * curve[0]


def test_codes_of_another_set_are_refused(tmp_path: Path) -> None:
    splits = make_splits()
    method = create("lo", SETTINGS, (3, 16, 16))
    method.fit(FitContext(splits, tmp_path, device="cpu", progress=False))
    from nearkin.errors import DataError

    smaller = replace(splits, train=splits.train.take(np.arange(32)))
    other = replace(splits, train=replace(splits.train, images=255 - splits.train.images))  # as many, but others
    for wrong in (smaller, other):
        with pytest.raises(DataError, match="codes of other training images"):
            create("lo", SETTINGS, (3, 16, 16)).fit(FitContext(wrong, tmp_path, device="cpu", progress=False))
    (tmp_path / "codes.json").unlink()  # a run from before it was written
    with pytest.raises(DataError, match="codes of 48 images; this data set has 32"):
        create("lo", SETTINGS, (3, 16, 16)).fit(FitContext(smaller, tmp_path, device="cpu", progress=False))


def test_free_codes_of_another_set_are_refused_before_they_are_trained_on(tmp_path: Path) -> None:
    from nearkin.errors import DataError

    splits = make_splits()
    settings = {k: TINY[k] for k in ("batch_size", "code_dim", "epochs")} | {"neighbors_from": "pixels"}
    create("free-codes", settings, (3, 16, 16)).fit(FitContext(splits, tmp_path, device="cpu", progress=False))
    (tmp_path / "weights.safetensors").unlink()  # interrupted
    other = replace(splits, train=replace(splits.train, ids=splits.train.ids[::-1].copy()))
    with pytest.raises(DataError, match="codes of other training images"):
        create("free-codes", settings, (3, 16, 16)).fit(FitContext(other, tmp_path, device="cpu", progress=False))


@pytest.mark.parametrize("k", [0, 48])
def test_free_codes_need_fewer_neighbours_than_images(tmp_path: Path, k: int) -> None:
    settings = {"neighbors_from": "pixels", "neighbors_k": k}
    with pytest.raises(ConfigError, match=f"neighbors_k is {k}; with 48 images: 1..47"):
        create("free-codes", settings, (3, 16, 16)).fit(
            FitContext(make_splits(), tmp_path, device="cpu", progress=False)
        )


def test_bad_settings() -> None:
    with pytest.raises(ConfigError, match="multiple of 32"):
        create("lo", {"decoder_width": 20}, (3, 16, 16))
    with pytest.raises(ConfigError, match="Did you mean 'view'"):
        create("lo", {"code_per": "vew"}, (3, 16, 16))
