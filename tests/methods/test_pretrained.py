"""The method "pretrained": runs that keep their weights, rows of a study, and an encoder's name in place of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.export.onnx import open_encoder
from nearkin.folders import StudyFolder, run_name
from nearkin.methods import create
from nearkin.methods.registry import is_variant, names_encoder
from nearkin.runs.check import check_run, check_study
from nearkin.runs.embed import embed_run, encoder_note
from nearkin.runs.fit import fit_run
from nearkin.runs.run import NamedEncoder, Run, open_run
from nearkin.study.study import StudyConfig, run_study
from tests.nets.test_pretrained import folder_of


def photos(root: Path, side: int = 64) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 16)):
        for k, name in enumerate(("dark", "light")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 100, (side, side, 3)) + 120 * k
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A random net of 48 pixels a side, in a folder as timm writes it."""
    cfg = {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": [3, 48, 48], "crop_pct": 1.0, "license": "mit"}
    return folder_of("resnet10t", tmp_path / "net", cfg=cfg)[0]


def fitted(tmp_path: Path, net: Path, **settings: Any) -> Path:
    settings = {"encoder": f"timm:local-dir:{net}", **settings}
    return fit_run(
        str(photos(tmp_path / "photos")), tmp_path / "run", "pretrained", settings, seed=0, subset=None, labels=None,
        size=None, strict=False, device="cpu", progress=False, say=lambda text: None,
    )  # fmt: skip


def embed(run: Path, tmp_path: Path, name: str = "a") -> Embeddings:
    out = tmp_path / f"{name}.parquet"
    return embed_run(
        run, str(tmp_path / "photos"), out, layer=None, labels=None, subset=None, strict=False, device="cpu",
        progress=False, say=lambda text: None,
    )  # fmt: skip


def test_a_run_opens_without_what_it_was_made_of(tmp_path: Path, net: Path) -> None:
    run = fitted(tmp_path, net, crop="squash")
    embed(run, tmp_path)  # decoded while it embeds: other batches, which round differently
    before = embed(run, tmp_path)
    for file in net.iterdir():
        file.unlink()
    after = embed(run, tmp_path, "b")
    assert np.array_equal(before.Z, after.Z) and before.Z.shape == (112, 512)
    card = json.loads((run / "encoder.json").read_text())
    assert card["licence"] == "mit" and card["preprocessing"]["crop"] == "squash" and card["library"] == "timm"
    assert after.provenance["encoder"] == card and "Licence of the weights: mit" in encoder_note(after.provenance)
    saved = Embeddings.load(tmp_path / "b.parquet")
    assert saved.provenance["encoder"]["weights"] == card["weights"]
    assert check_run(run).state == "finished"
    (run / "encoder.json").unlink()
    assert check_run(run).state == "broken"


def test_a_run_says_which_encoder_its_weights_are_for(tmp_path: Path, net: Path) -> None:
    from nearkin.train.checkpoint import load_tensors, save_tensors

    run = fitted(tmp_path, net)
    tensors, _ = load_tensors(run / "weights.safetensors")
    save_tensors(run / "weights.safetensors", tensors, {})
    with pytest.raises(DataError, match="does not say which encoder"):
        Run(run).open()


def test_an_encoders_name_stands_for_a_run(tmp_path: Path, net: Path) -> None:
    photos(tmp_path / "photos")
    name = f"timm:local-dir:{net}"
    assert names_encoder(name) and not names_encoder(str(net))
    run = open_run(Path(name))
    assert isinstance(run, NamedEncoder) and run.image_size() == 48 and run.config().settings["encoder"] == name
    made = embed(Path(name), tmp_path)
    assert made.provenance["run"] and made.provenance["encoder"]["name"] == name
    assert not isinstance(open_run(net), NamedEncoder)
    with pytest.raises(ConfigError, match="unknown layer 'cls'"):
        run.open("cls")
    with pytest.raises(ConfigError, match="only nets that nearkin trained are exported"):
        open_encoder(Path(name))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"mean": "0.5,0.5"}, "three numbers"), ({"crop": "middle"}, "unknown crop"), ({"side": 4}, "8 to 1024")],
)
def test_illegal_settings(settings: dict[str, Any], message: str, net: Path) -> None:
    method = create("pretrained", {"encoder": f"timm:local-dir:{net}", **settings}, (3, 32, 32))
    with pytest.raises(ConfigError, match=message):
        _ = method.best_side


def test_names_of_folders() -> None:
    assert run_name("vicreg@lr=1e-3+epochs=20", 1) == "vicreg@lr=1e-3+epochs=20-s1"  # as before
    one, two = (run_name(f"pretrained@encoder=timm:a{sign}b", 0) for sign in ":/")
    assert one != two and Path(one).name == one and ":" not in one and one.endswith("-s0")
    assert len(run_name("x" * 500, 0)) < 200
    assert is_variant("vicreg@lr=1") and not is_variant("pretrained@encoder=timm:a") and not is_variant("vicreg")


def test_a_study_has_a_row_for_each_encoder_and_says_what_it_has_seen(tmp_path: Path, net: Path) -> None:
    method = f"pretrained@encoder=timm:local-dir:{net}"
    source = str(photos(tmp_path / "photos"))
    config = StudyConfig(source, "quick", (method, "raw-pixels"), (0,), {"encoder": "fast-tiny"}, size=16)
    said: list[str] = []
    results = run_study(config, tmp_path / "out", progress=False, say=said.append)
    assert any("reading the images once more, at 48 x 48" in line for line in said)
    rows = {row["method"]: row for row in results["table"]}
    assert set(rows) == {method, "raw-pixels"} and rows[method]["variant"] is False
    told = [item["text"] for item in results["verdict"] if "no figure here takes away" in item["text"]]
    assert len(told) == 1 and "Licence of the weights: mit" in told[0]
    assert any("learn nothing from these images" in line for line in results["protocol"])
    (run,) = (item for item in results["runs"] if item["method"] == method)
    assert run["encoder"]["preprocessing"]["side"] == 48
    folder = StudyFolder(tmp_path / "out").runs_folder / run_name(method, 0)
    assert run["id"] == folder.name and Run(folder).image_size() == 48
    # The run's vectors are those of the encoder at its own side, not of the study's 16 pixels.
    saved = Embeddings.load(Run(folder).embeddings_file("pooled"))
    direct = embed(Path(f"timm:local-dir:{net}"), tmp_path)
    order = {name: k for k, name in enumerate(direct.ids.tolist())}
    assert np.allclose(saved.Z, direct.Z[[order[name] for name in saved.ids.tolist()]], atol=1e-5)
    assert saved.provenance["encoder"] == run["encoder"]
    assert all(item.state == "finished" for item in (check_run(folder), check_study(tmp_path / "out")))
    assert not any("16 x 16" in line for line in said if "once more" in line)
    # A second time, nothing is computed and nothing fetched.
    for file in net.iterdir():
        file.unlink()
    again = run_study(config, tmp_path / "out", progress=False, say=said.append)
    assert again["table"] == results["table"]


def test_a_study_tells_of_a_missing_encoder_before_the_first_run(tmp_path: Path) -> None:
    methods = ("raw-pixels", f"pretrained@encoder=timm:local-dir:{tmp_path / 'none'}")
    config = StudyConfig(str(photos(tmp_path / "photos")), "quick", methods, (0,))
    with pytest.raises(DataError, match=r"no config\.json"):
        run_study(config, tmp_path / "out", progress=False, say=lambda text: None)
    assert not (tmp_path / "out" / "runs").exists()
