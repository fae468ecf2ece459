"""Folders and zips: layouts, broken files, the cache, label files; single image files."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nearkin import data as nd
from nearkin.data import load
from nearkin.data.decode import to_square
from nearkin.data.folder import choose_size, read_images
from nearkin.errors import ConfigError, DataError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def save(path: Path, value: int, size: tuple[int, int] = (32, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), value, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def tree(root: Path, names: list[str]) -> Path:
    for i, name in enumerate(names):
        save(root / name, i)
    return root


def test_flat_folder_is_unlabelled(tmp_path: Path, cache: Path) -> None:
    found = nd.load(str(tree(tmp_path / "flat", ["b.png", "a.png", "c.png"])), cache=cache)
    assert found.train.labels is None and found.train.classes == () and found.test is None
    assert found.train.ids.tolist() == ["a.png", "b.png", "c.png"]
    assert found.train.images[:, 0, 0, 0].tolist() == [1, 0, 2]


def test_class_folders(tmp_path: Path, cache: Path) -> None:
    names = [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(3)]
    found = nd.load(str(tree(tmp_path / "set", names)), cache=cache)
    assert found.train.classes == ("cat", "dog")
    assert found.train.labels is not None and found.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_split_and_class_folders(tmp_path: Path, cache: Path) -> None:
    names = [f"{s}/{c}/{i}.png" for s in ("train", "test") for c in ("cat", "dog") for i in range(2)]
    found = nd.load(str(tree(tmp_path / "set", names)), cache=cache)
    assert found.test is not None and len(found.train) == len(found.test) == 4
    assert found.test.ids.tolist() == ["test/cat/0.png", "test/cat/1.png", "test/dog/0.png", "test/dog/1.png"]
    assert found.test.classes == ("cat", "dog")


def test_validation_folder_joins_train_when_there_is_a_test_folder(tmp_path: Path, cache: Path) -> None:
    names = [f"{s}/{c}/{i}.png" for s in ("train", "val", "test") for c in "ab" for i in range(2)]
    found = nd.load(str(tree(tmp_path / "set", names)), cache=cache)
    assert found.test is not None and (len(found.train), len(found.test)) == (8, 4)


def test_a_lone_test_folder_is_no_class(tmp_path: Path, cache: Path) -> None:
    names = [f"test/{c}/{i}.png" for c in ("cat", "dog") for i in range(3)]
    found = nd.load(str(tree(tmp_path / "set", names)), cache=cache)
    assert found.test is None and found.train.classes == ("cat", "dog")
    assert any("only a 'test' folder" in note for note in found.notes)


def test_wrapping_folder_is_ignored(tmp_path: Path, cache: Path) -> None:
    names = [f"my-set-1.0/{c}/{i}.png" for c in "ab" for i in range(2)]
    found = nd.load(str(tree(tmp_path / "set", names)), cache=cache)
    assert found.train.classes == ("a", "b")


def test_hidden_files_and_foreign_files_are_left_out(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png", ".hidden.png", "__MACOSX/a.png"])
    (root / "notes.txt").write_text("no image")
    assert nd.load(str(root), cache=cache).train.ids.tolist() == ["a.png", "b.png"]


def test_links_to_folders_are_not_followed(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png"])
    (root / "loop").symlink_to(root, target_is_directory=True)
    assert len(nd.load(str(root), cache=cache).train) == 2


def test_zip_equals_folder(tmp_path: Path, cache: Path) -> None:
    names = [f"{s}/{c}/{i}.png" for s in ("train", "test") for c in "ab" for i in range(2)]
    root = tree(tmp_path / "set", names)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as z:
        for name in names:
            z.write(root / name, f"wrapped/{name}")
    a, b = nd.load(str(root), cache=cache), nd.load(str(tmp_path / "set.zip"), cache=cache)
    assert a.test is not None and b.test is not None
    assert np.array_equal(a.train.images, b.train.images) and np.array_equal(a.test.images, b.test.images)
    assert a.train.classes == b.train.classes


def test_mixed_sizes_meet_at_one(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "set"
    for i, size in enumerate([(50, 40), (64, 64), (200, 90)]):
        save(root / f"{i}.png", i, size)
    found = nd.load(str(root), cache=cache)
    assert found.train.images.shape == (3, 3, 64, 64)
    assert any("resized" in note for note in found.notes)
    assert nd.load(str(root), cache=cache, size=16).train.images.shape == (3, 3, 16, 16)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([(32, 32)] * 3, 32), ([(28, 28)] * 3, 28), ([(500, 375)] * 3, 224), ([(40, 60), (70, 60)], 64), ([(4, 4)], 32)],
)
def test_common_size(sizes: list[tuple[int, int]], expected: int) -> None:
    assert choose_size(sizes) == expected


def test_broken_files_are_listed_and_strict_refuses(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png", "c.png"])
    whole = (root / "b.png").read_bytes()
    (root / "b.png").write_bytes(whole[: len(whole) // 2])
    (root / "d.jpg").write_text("I am no image")
    (root / "e.png").write_bytes(b"")
    found = nd.load(str(root), cache=cache)
    assert found.train.ids.tolist() == ["a.png", "c.png"]
    assert [item.path for item in found.skipped] == ["b.png", "d.jpg", "e.png"]
    assert found.skipped[1].reason == "not an image"
    with pytest.raises(DataError, match=r"b\.png.*3 unreadable"):
        nd.load(str(root), cache=cache, strict=True)


def test_huge_image_is_refused_by_its_header(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png"])
    Image.new("1", (30_000, 30_000)).save(root / "huge.png")
    found = nd.load(str(root), cache=cache)
    assert [item.path for item in found.skipped] == ["huge.png"]
    assert "30000" in found.skipped[0].reason.replace(",", "") or "900000000" in found.skipped[0].reason


def test_nothing_readable(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_text("x")
    with pytest.raises(DataError, match="none of the 1 images is readable"):
        nd.load(str(tmp_path / "set"), cache=cache)


def test_second_load_comes_from_the_cache_and_a_changed_file_does_not(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png"])
    first = nd.load(str(root), cache=cache)
    second = nd.load(str(root), cache=cache)
    assert isinstance(second.train.images.base, np.memmap) or isinstance(second.train.images, np.memmap)
    assert first.fingerprint == second.fingerprint
    save(root / "a.png", 99)
    third = nd.load(str(root), cache=cache)
    assert third.train.images[0, 0, 0, 0] == 99 and third.fingerprint != first.fingerprint


def test_cache_is_keyed_by_content(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png"])
    nd.load(str(root), cache=cache)
    copy = shutil.copytree(root, tmp_path / "elsewhere")
    nd.load(str(copy), cache=cache)
    assert len(list((cache / "decoded").iterdir())) == 1
    assert len(list((cache / "stamps").iterdir())) == 2


def test_damaged_cache_is_rebuilt(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png"])
    first = np.array(nd.load(str(root), cache=cache).train.images)  # a copy: the file under the map is about to change
    for file in (cache / "decoded").glob("*/*"):
        file.write_bytes(b"garbage")
    assert np.array_equal(nd.load(str(root), cache=cache).train.images, first)
    for file in (cache / "stamps").iterdir():
        file.write_bytes(b"../../etc")
    assert np.array_equal(nd.load(str(root), cache=cache).train.images, first)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png"])
    (tmp_path / "file").write_text("")
    assert len(nd.load(str(root), cache=tmp_path / "file").train) == 2


def test_label_file_overrides_folders(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png", "c.png", "d.png"])
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label,split\na.png,cat,train\n./b.png,dog,train\nc.png,,test\n", encoding="utf-8")
    found = nd.load(str(root), labels=labels, cache=cache)
    assert found.train.classes == ("cat", "dog") and found.test is not None
    assert found.train.ids.tolist() == ["a.png", "b.png", "d.png"]
    assert found.train.labels is not None and found.train.labels.tolist() == [0, 1, -1]
    assert found.test.labels is not None and found.test.labels.tolist() == [-1]


def test_a_file_of_splits_alone_keeps_the_folders_labels(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(3)])
    labels = tmp_path / "splits.csv"
    labels.write_text("path,split\ncat/0.png,test\ndog/0.png,test\n")
    found = nd.load(str(root), labels=labels, cache=cache)
    assert found.test is not None and found.test.ids.tolist() == ["cat/0.png", "dog/0.png"]
    assert found.train.classes == ("cat", "dog") and found.train.labels is not None
    assert found.train.labels.tolist() == [0, 0, 1, 1]
    assert any("splits for 2 of 6 images" in note for note in found.notes)


def test_label_file_that_matches_nothing(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "set", ["a.png", "b.png"])
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nx.png,cat\n")
    with pytest.raises(DataError, match=r"no path matches.*'x\.png'.*'a\.png'"):
        nd.load(str(root), labels=labels, cache=cache)


def test_wrong_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="between 8 and 1024"):
        nd.load("shapes", size=4)


def test_zip_slip_and_bomb(tmp_path: Path, cache: Path) -> None:
    for name in ("../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png"):
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as z:
            z.writestr(name, b"x")
        with pytest.raises(DataError, match="points outside"):
            nd.load(str(tmp_path / "evil.zip"), cache=cache)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("bomb.png", b"\0" * (257 * 1024 * 1024))
        z.write(tree(tmp_path / "set", ["a.png"]) / "a.png", "a.png")
    found = nd.load(str(tmp_path / "bomb.zip"), cache=cache)
    assert found.train.ids.tolist() == ["a.png"] and found.skipped[0].path == "bomb.png"
    (tmp_path / "no.zip").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match="not a readable zip"):
        nd.load(str(tmp_path / "no.zip"), cache=cache)


def test_real_cifar10_folder(cifar10_dir: Path, cache: Path) -> None:
    folders = sorted(p for p in cifar10_dir.glob("**/airplane") if p.is_dir())
    root = folders[0].parent
    found = nd.load(str(root), cache=cache, progress=False)
    assert found.train.images.shape[1:] == (3, 32, 32) and len(found.train.classes) == 10
    first = np.asarray(Image.open(root / str(found.train.ids[0])).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(found.train.images[0], first)


def test_images_in_formats_that_are_not_decoded_are_counted(tmp_path: Path, cache: Path) -> None:
    root = tree(tmp_path / "phone", ["a.png", "b.png"])
    for name in ("c.HEIC", "sub/d.heic", "e.avif", ".hidden.heic", "notes.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"no matter")
    for source in (root, Path(shutil.make_archive(str(tmp_path / "phone"), "zip", root))):
        found = nd.load(str(source), cache=cache)
        assert len(found.train) == 2 and not found.skipped
        assert any("cannot decode and leaves out (1 .avif, 2 .heic)" in note for note in found.notes)
    for name in ("a.png", "b.png"):
        (root / name).unlink()
    with pytest.raises(DataError, match=r"no images in .*2 \.heic\), e\.g\. c\.HEIC: convert them"):
        nd.load(str(root), cache=cache)


def picture(path: Path, side: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 7, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_same_pixels_as_the_loader(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / "set" / f"{i}.png", 20 + i, i)
    loaded = load(str(tmp_path / "set"), size=16, cache=tmp_path / "cache", progress=False)
    names, images, skipped = read_images([tmp_path / "set"])
    assert names == [f"{tmp_path}/set/{i}.png" for i in range(4)] and not skipped
    assert np.array_equal(np.stack([to_square(image, 16) for image in images]), loaded.train.images)


def test_files_and_folders_in_order_with_broken_ones_listed(tmp_path: Path) -> None:
    one, deep = picture(tmp_path / "z.png", 9, 0), picture(tmp_path / "set" / "deep" / "a.png", 9, 1)
    (tmp_path / "set" / "broken.png").write_text("no image")
    names, images, skipped = read_images([one, tmp_path / "set"])
    assert names == [str(one), str(deep)] and [image.size for image in images] == [(16, 9)] * 2
    assert [(item.path, item.reason) for item in skipped] == [(f"{tmp_path}/set/broken.png", "not an image")]


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.png: No such file"):
        read_images([tmp_path / "none.png"])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="text.png: not an image"):
        read_images([tmp_path / "text.png"])
    with pytest.raises(DataError, match="none of its 1 images is readable"):
        read_images([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in"):
        read_images([tmp_path / "empty"])
