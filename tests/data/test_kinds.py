"""Kinds of folders and files that people have: each is read right, or said plainly. Numbers name public reports of other tools."""

from __future__ import annotations

import dataclasses
import io
import json
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nearkin import data as nd
from nearkin.data import ReadOptions
from nearkin.data.sources import images_of
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from tests.cli.inprocess import invoke
from tests.data.conftest import write_tar


def picture(number: int, mode: str = "RGB", side: int = 16) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def png(number: int) -> bytes:
    return encoded(picture(number))


def put(root: Path, *names: str, each: int = 1) -> Path:
    """Images of these names; a name that ends with "/" is a folder of ``each`` images."""
    for k, name in enumerate(names):
        files = [f"{name}{i}.png" for i in range(each)] if name.endswith("/") else [name]
        for i, file in enumerate(files):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(png(1000 * k + i))
    return root


def write(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def parquet(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


IMAGE, BINARY = {"_type": "Image"}, {"_type": "Value", "dtype": "binary"}


def names(*classes: str) -> dict[str, Any]:
    return {"_type": "ClassLabel", "names": list(classes)}


@dataclass(frozen=True)
class Kind:
    """Attributes:
    make: writes the files into a folder and returns what to load, or (source, label file).
    train, test: images by class; {"": n} for n images without label. None for test: there is none.
    says: words that a remark must hold. refused: words of the error, where the set is refused.
    """

    make: Callable[[Path], Path | str | tuple[Path, Path]]
    train: dict[str, int] | None = None
    test: dict[str, int] | None = None
    says: tuple[str, ...] = ()
    refused: str = ""
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)


CELLS = [{"bytes": png(i), "path": None} for i in range(12)]
THREE = [i % 3 for i in range(12)]


def same_names(root: Path) -> Path:
    columns = {"image": CELLS, "background": [i % 2 for i in range(12)], "label": THREE}
    return parquet(
        root / "x.parquet", columns, {"image": IMAGE, "background": names("sky", "sea"), "label": names(*"abc")}
    )


def fine_and_coarse(root: Path) -> Path:
    columns = {"img": CELLS, "fine_label": THREE, "coarse_label": [0] * 12}
    return parquet(root / "x.parquet", columns, {"img": IMAGE, "fine_label": names(*"abc"), "coarse_label": names("x")})


def voc(root: Path) -> Path:
    put(root, "VOC2012/JPEGImages/", each=6)
    put(root, "VOC2012/SegmentationClass/", "VOC2012/SegmentationObject/", each=3)
    for k in range(6):
        write(root / f"VOC2012/Annotations/{k}.xml", "<annotation/>")
    write(root / "VOC2012/ImageSets/Main/train.txt", "0\n1\n2\n")
    write(root / "VOC2012/ImageSets/Main/val.txt", "3\n4\n")
    return root


def yolo(root: Path) -> Path:
    put(root, "images/train/", "images/val/", each=4)
    for split in ("train", "val"):
        for k in range(4):
            write(root / f"labels/{split}/{k}.txt", "0 0.5 0.5 1 1")
    return root


def coco(root: Path) -> tuple[Path, Path]:
    value = {
        "images": [{"id": k, "file_name": f"{k}.png"} for k in range(6)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            *({"image_id": k, "category_id": 1 + k % 2} for k in range(4)),
            {"image_id": 4, "category_id": 1},
            {"image_id": 4, "category_id": 2},
        ],
    }
    images = put(root / "val2017", *(f"{k}.png" for k in range(6)))
    return images, write(root / "instances.json", json.dumps(value))


def labelled(root: Path, text: str | bytes, *files: str, name: str = "labels.csv") -> tuple[Path, Path]:
    return put(root / "photos", *(files or ("0.png", "1.png", "2.png", "3.png"))), write(root / name, text)


def tar(root: Path, *files: tuple[str, bytes]) -> Path:
    return write_tar(root / "x.tar", list(files))


def linked(root: Path) -> Path:
    put(root / "elsewhere", "a/", each=3)
    put(root / "set", "train/", each=4)
    (root / "set" / "val").symlink_to(root / "elsewhere", target_is_directory=True)
    return root / "set"


def deep(root: Path, change: Callable[[np.ndarray], np.ndarray], suffix: str = "png") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for k in range(6):
        values = np.asarray(picture(k, "L")).astype(np.float64) * (k + 1) / 6
        Image.fromarray(change(values)).save(root / f"{k}.{suffix}")
    return root


def zipped_twice(root: Path) -> Path:
    with pytest.warns(UserWarning), zipfile.ZipFile(root / "x.zip", "w") as archive:
        for name in ("a.png", "b.png", "a.png"):
            archive.writestr(name, png(len(archive.namelist())))
    return root / "x.zip"


def with_nan(root: Path) -> Path:
    labels = np.array([np.nan if i % 4 == 0 else i % 3 for i in range(12)])
    return parquet(root / "x.parquet", {"image": [png(i) for i in range(12)], "label": labels})


def npz(root: Path, **arrays: Any) -> Path:
    np.savez(root / "x.npz", **arrays)
    return root / "x.npz"


def shards_by_split(root: Path) -> str:
    for k, name in enumerate(("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")):
        parquet(root / f"{name}.parquet", {"image": [png(4 * k + i) for i in range(4)]})
    return str(root / "*.parquet")


CSV = "path,label\n"
NUMBERS = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)

KINDS: dict[str, Kind] = {
    # Parquet's columns
    "names belong to the chosen column": Kind(
        same_names, dict.fromkeys("abc", 4), says=("labels from column 'label'; also there: background",)
    ),
    "fine and coarse labels are offered": Kind(fine_and_coarse, {"": 12}, says=("taken from fine_label, coarse_label",)),
    "fine labels asked for": Kind(fine_and_coarse, dict.fromkeys("abc", 4), read=ReadOptions(label_column="fine_label")),
    "a label column that is not there": Kind(
        fine_and_coarse, refused="no such column; found: img, fine_label", read=ReadOptions(label_column="class")
    ),
    "plain numbers have no names": Kind(
        lambda root: parquet(
            root / "x.parquet",
            {"image": CELLS, "sex": THREE, "label": [7 + k for k in THREE]},
            {"image": IMAGE, "sex": names(*"mf?"), "label": {"_type": "Value"}},
        ),
        {"7": 4, "8": 4, "9": 4},
    ),
    "a list of labels": Kind(
        lambda root: parquet(root / "x.parquet", {"image": CELLS, "label": [[k, 3] for k in THREE]}),
        refused="column 'label' holds a list of labels per image.*--label-column none",
    ),
    "a list of labels, not asked for": Kind(
        lambda root: parquet(root / "x.parquet", {"image": CELLS, "label": [[k, 3] for k in THREE]}),
        {"": 12},
        read=ReadOptions(label_column="none"),
    ),
    "binary that is no image comes first": Kind(
        lambda root: parquet(
            root / "x.parquet", {"md5": [bytes([i] * 16) for i in range(12)], "picture": [png(i) for i in range(12)]}
        ),
        {"": 12},
    ),
    "a feature says which column": Kind(
        lambda root: parquet(
            root / "x.parquet", {"thumb": [png(9)] * 12, "shot": CELLS}, {"thumb": BINARY, "shot": IMAGE}
        ),
        {"": 12},
    ),
    "a mask before the image": Kind(
        lambda root: parquet(root / "x.parquet", {"mask": CELLS, "image": CELLS}, {"mask": IMAGE, "image": IMAGE}),
        {"": 12},
        says=("images from column 'image'; also there: mask",),
    ),
    "two columns of images, neither usual": Kind(
        lambda root: parquet(root / "x.parquet", {"left": CELLS, "right": CELLS}, {"left": IMAGE, "right": IMAGE}),
        refused=r"several columns of images \(left, right\). Choose one with --image-column",
    ),
    "one of them asked for": Kind(
        lambda root: parquet(root / "x.parquet", {"left": CELLS, "right": CELLS}, {"left": IMAGE, "right": IMAGE}),
        {"": 12},
        read=ReadOptions(image_column="right"),
    ),
    "lists of images": Kind(
        lambda root: parquet(root / "x.parquet", {"images": [[cell, cell] for cell in CELLS]}, {"images": [IMAGE]}),
        {"": 12},
        says=("12 further images of one row",),
    ),
    "paths without bytes": Kind(
        lambda root: parquet(
            root / "x.parquet",
            {"image": pa.array([{"bytes": None, "path": "0.png"}] * 3, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))},
        ),
        refused="none of its 3 images is readable; first: 0.png: no bytes, only the path '0.png'",
    ),
    "a split column with other names": Kind(
        lambda root: parquet(root / "x.parquet", {"image": CELLS, "split": ["train"] * 6 + ["dev"] * 4 + ["extra"] * 2}),
        {"": 8},
        {"": 4},
        says=("2 rows with a split that is none of",),
    ),
    "shards named after their split (datasets' own file names)": Kind(shards_by_split, {"": 8}, {"": 4}),
    # layouts
    "MVTec AD, one category": Kind(
        lambda root: put(root, "train/good/", "test/good/", "test/cut/", "ground_truth/cut/", each=4),
        {"good": 4},
        {"cut": 4, "good": 4},
        says=("left out: 4 masks or annotations, in folders beside the images, e.g. ground_truth/cut/0.png",),
    ),
    "MVTec AD, all categories": Kind(
        lambda root: put(
            root, *(f"{c}/{s}/" for c in ("nut", "pill") for s in ("train/good", "test/good", "ground_truth/cut")), each=4
        ),
        {"nut": 4, "pill": 4},
        {"nut": 4, "pill": 4},
        says=("split folders found in each of 2 folders", "8 masks"),
    ),
    "COCO's folders": Kind(
        lambda root: put(root, "images/train2017/", "images/val2017/", "images/test2017/", each=4), {"": 8}, {"": 4}
    ),
    "images and masks, each with splits": Kind(
        lambda root: put(root, *(f"{a}/{b}/" for a in ("images", "masks") for b in ("train", "test")), each=4),
        {"": 4},
        {"": 4},
        says=("8 masks",),
    ),
    "Tiny ImageNet": Kind(
        lambda root: put(root, "train/a/images/", "train/b/images/", "val/images/", "test/images/", each=3),
        {"a": 3, "b": 3, "": 3},
        {"": 3},
    ),
    "a set inside itself, as in a Kaggle archive": Kind(
        lambda root: put(root, *(f"{top}{s}/{c}/" for top in ("", "x/x/") for s in ("train", "test") for c in "ab"), each=2),
        {"a": 2, "b": 2},
        {"a": 2, "b": 2},
        says=("8 images in folders beside the splits that are none, e.g. x/x/test/a/0.png",),
    ),
    "Pascal VOC": Kind(voc, {"": 4}, {"": 2}, says=("6 masks", "splits from Pascal VOC's lists", "1 images in none", ".xml")),
    "YOLO": Kind(yolo, {"": 4}, {"": 4}, says=("8 files that are no images (.txt)",)),
    "COCO's annotations as labels": Kind(coco, {"cat": 2, "dog": 2, "": 2}, says=("1 show several categories and 1 none",)),
    "dev and eval": Kind(
        lambda root: put(root, *(f"{s}/{c}/" for s in ("train", "dev", "eval") for c in "ab"), each=3),
        {"a": 3, "b": 3},
        {"a": 6, "b": 6},
    ),
    "unlabeled beside train and test": Kind(
        lambda root: put(root, "train/a/", "train/b/", "test/a/", "test/b/", "unlabeled/", each=3),
        {"a": 3, "b": 3, "": 3},
        {"a": 3, "b": 3},
        says=("split folders found: test, train, unlabeled",),
    ),
    "a class called train": Kind(
        lambda root: put(root, "train/", "bus/", "car/", each=4), dict.fromkeys(("train", "bus", "car"), 4), says=("as a class",)
    ),
    "a folder beside splits that is none": Kind(
        lambda root: put(root, "train/a/", "train/b/", "test/a/", "extra/", "cover.png", each=3),
        {"a": 3, "b": 3},
        {"a": 3},
        says=("3 images in folders beside the splits that are none, e.g. extra/0.png", "1 images beside the split folders"),
    ),
    "a test folder beside classes": Kind(
        lambda root: put(root, "cat/", "dog/", "test/cat/", each=4), {"cat": 4, "dog": 4}, {"cat": 4}
    ),
    "masks named after images": Kind(
        lambda root: put(root, "a/1.png", "a/1_mask.png", "a/2.png", "a/2_mask_1.png", "b/1.png", "b/2.png", "b/face_mask.png"),
        {"a": 2, "b": 3},
        says=("2 masks, named after the image beside them",),
    ),
    "with and without a mask are classes": Kind(lambda root: put(root, "mask/", "no_mask/", each=3), {"mask": 3, "no_mask": 3}),
    "split names without classes (datasets#7880)": Kind(lambda root: put(root, "train/", "test/", each=3), {"": 3}, {"": 3}),
    "split words in file names (datasets#5021)": Kind(
        lambda root: put(root, "a train.png", "test tubes.png", "a cat.png"), {"": 3}
    ),
    "one folder and loose images (datasets#5153)": Kind(
        lambda root: put(root, "more/", "0.png", "1.png", each=3), {"": 5}
    ),
    "an empty class folder (vision#4925)": Kind(
        lambda root: [put(root, "a/", "b/", each=3), (root / "c").mkdir()][0], {"a": 3, "b": 3}, says=("1 empty folders, e.g. c/",)
    ),
    "a notebook's hidden folder (vision#2831)": Kind(
        lambda root: put(root, "a/", "b/", ".ipynb_checkpoints/", each=3), {"a": 3, "b": 3}, says=("1 hidden files and folders",)
    ),
    "test images in a folder called unknown": Kind(
        lambda root: put(root, "train/a/", "train/b/", "test/unknown/", each=3),
        {"a": 3, "b": 3},
        {"": 3},
        says=("'unknown', that train does not have",),
    ),
    "class names that differ in case": Kind(
        lambda root: put(root, "Cat/", "cat /", "dog/", each=3),
        {"Cat": 3, "cat ": 3, "dog": 3},
        says=("differ only in case, spaces or Unicode form: 'Cat', 'cat '",),
    ),
    "a split folder that is a link (fiftyone#2827)": Kind(linked, {"": 4}, says=("1 links to folders, which are not followed, e.g. val",)),
    # files
    "no suffix, an odd one, and upper case": Kind(
        lambda root: [
            write(root / "0", png(0)),
            write(root / "b.0001", png(1)),
            write(root / "c.JFIF", encoded(picture(2), "JPEG")),
            write(root / "d.PNG", png(3)),
            write(root / "e.dat", b"no image"),
            root,
        ][-1],
        {"": 4},
        says=("1 files that are no images (.dat), e.g. e.dat",),
    ),
    "formats that are not decoded": Kind(
        lambda root: [put(root, "0.png"), write(root / "a.jp2", b"x"), write(root / "b", b"\0\0\0\x18ftypheic" + bytes(9)), root][-1],
        {"": 1},
        says=("leaves out (1 .heic, 1 .jp2), e.g. a.jp2: convert them",),
    ),
    "formats that others decode": Kind(
        lambda root: [put(root, "0.png"), *(write(root / f"a.{suffix}", b"x") for suffix in ("pcx", "dib", "svs", "nii")), root][-1],
        {"": 1},
        says=("leaves out (1 .dib, 1 .nii, 1 .pcx, 1 .svs)",),
    ),
    "a Git LFS pointer": Kind(
        lambda root: [put(root, "0.png"), write(root / "1.png", "version https://git-lfs.github.com/spec/v1\n"), root][-1],
        {"": 1},
        says=("1.png: not an image but a Git LFS pointer",),
    ),
    "a web page in an image's place": Kind(
        lambda root: [put(root, "0.png"), write(root / "1.jpg", "<!DOCTYPE html><html>404</html>"), root][-1],
        {"": 1},
        says=("1.jpg: not an image but a web page",),
    ),
    "HEIC called .jpg": Kind(
        lambda root: [put(root, "0.png"), write(root / "1.jpg", b"\0\0\0\x18ftypheic" + bytes(99)), root][-1],
        {"": 1},
        says=("1.jpg: a .heic image: convert it",),
    ),
    "PNG called .jpg": Kind(lambda root: [put(root, "0.png"), write(root / "1.jpg", png(1)), root][-1], {"": 2}),
    "several frames": Kind(
        lambda root: [
            put(root, "0.png"),
            write(root / "1.gif", encoded(picture(1), "GIF", save_all=True, append_images=[picture(2), picture(3)])),
            write(root / "2.tif", encoded(picture(1), "TIFF", save_all=True, append_images=[picture(2)])),
            root,
        ][-1],
        {"": 3},
        says=("the first frame is taken of 2 files with several frames or pages, e.g. 1.gif",),
    ),
    "a name twice in a zip": Kind(zipped_twice, {"": 2}, says=("1 entries of a name that another has",)),
    "a folder of Parquet files": Kind(
        lambda root: [parquet(root / "train.parquet", {"image": CELLS}), root][-1], refused=r"For shards give a pattern: '.*\*\.parquet'"
    ),
    # label files
    "rows that match nothing": Kind(
        lambda root: labelled(root, CSV + "0.png,a\n1.png,b\ngone.png,a\n"),
        {"a": 1, "b": 1, "": 2},
        says=("labels for 2 of 4 images", "1 rows of labels.csv that name no image that was read, e.g. gone.png"),
    ),
    "another Unicode form (paperbanana#234)": Kind(
        lambda root: labelled(root, CSV + unicodedata.normalize("NFC", "é.png,a\nü.png,b\n"), *(unicodedata.normalize("NFD", n) for n in ("é.png", "ü.png"))),
        {"a": 1, "b": 1},
        says=("2 rows of labels.csv matched but for: Unicode form",),
    ),
    "another case": Kind(
        lambda root: labelled(root, CSV + "A.JPEG,a\nb.png,b\n", "a.jpeg", "b.png"), {"a": 1, "b": 1}, says=("upper and lower case",)
    ),
    "paths without suffix (fastai#937)": Kind(
        lambda root: labelled(root, CSV + "pie/100, a\npie/101, b\n", "pie/100.png", "pie/101.png"), {"a": 1, "b": 1}, says=("suffix",)
    ),
    "backslashes (fiftyone#1675)": Kind(lambda root: labelled(root, CSV + "x\\0.png,a\nx\\1.png,b\n", "x/0.png", "x/1.png"), {"a": 1, "b": 1}),
    "leading zeros (fastai#1008)": Kind(lambda root: labelled(root, CSV + "001.png,007\n002.png,7\n", "001.png", "002.png"), {"007": 1, "7": 1}),
    "folders in front": Kind(
        lambda root: labelled(root, CSV + "/home/me/photos/0.png,a\nphotos/1.png,b\n", "0.png", "1.png"), {"a": 1, "b": 1}, says=("folders in front",)
    ),
    "names alone (make-sense#164)": Kind(
        lambda root: labelled(root, CSV + "0.png,a\n1.png,b\n9.png,c\n", "x/0.png", "y/1.png", "x/9.png", "y/9.png"),
        {"a": 1, "b": 1, "": 2},
        says=("1 rows of labels.csv that name no image",),
    ),
    "column names in capitals": Kind(
        lambda root: labelled(root, "Path, Label,Split\n0.png,a,train\n1.png,b,test\n", "0.png", "1.png"), {"a": 1}, {"b": 1}
    ),
    "metadata.csv (datasets#4069)": Kind(
        lambda root: labelled(root, "file_name,label\n0.png,a\n1.png,b\n", "0.png", "1.png", name="metadata.csv"), {"a": 1, "b": 1}
    ),
    "metadata.jsonl": Kind(
        lambda root: labelled(root, '{"file_name": "0.png", "label": 1.0}\n{"file_name": "1.png", "label": null}\n', "0.png", "1.png", name="metadata.jsonl"),
        {"1": 1, "": 1},
    ),
    "a label file that was not named": Kind(
        lambda root: [put(root, "0.png", "1.png"), write(root / "metadata.csv", "file_name,label\n0.png,a\n"), root][-1],
        {"": 2},
        says=("metadata.csv is not read; if it holds labels of these images, give it with --labels",),
    ),
    "a spreadsheet's UTF-16": Kind(lambda root: labelled(root, (CSV + "0.png,ä\n1.png,b\n").encode("utf-16"), "0.png", "1.png"), {"ä": 1, "b": 1}),
    "fractions and NaN in CSV": Kind(lambda root: labelled(root, CSV + "0.png,1.0\n1.png,2.0\n2.png,nan\n3.png,\n"), {"1": 1, "2": 1, "": 2}, says=("labels for 2 of 4 images from labels.csv; its rows for 2 others have none",)),
    "the bread called nan": Kind(lambda root: labelled(root, CSV + "0.png,nan\n1.png,pita\n2.png,NA\n3.png,None\n"), {"nan": 1, "pita": 1, "NA": 1, "None": 1}),
    "NaN in Parquet": Kind(with_nan, {"0": 3, "1": 3, "2": 3, "": 3}),
    "NaN in arrays": Kind(
        lambda root: npz(root, images=NUMBERS, labels=np.array([np.nan if i % 4 == 0 else i % 3 for i in range(12)])),
        {"0": 3, "1": 3, "2": 3, "": 3},
    ),
    "labels -1 and 1": Kind(lambda root: npz(root, images=NUMBERS, labels=np.array([-1, 1] * 6)), {"-1": 6, "1": 6}),
    "several labels in one text (fastai's planet)": Kind(
        lambda root: labelled(root, CSV + "".join(f"{k}.png,clear t{k}\n" for k in range(24)), *(f"{k}.png" for k in range(24))),
        {f"clear t{k}": 1 for k in range(24)},
        says=("24 different labels for 24 images",),
    ),
    "another column of labels": Kind(
        lambda root: labelled(root, "path,label,kind\n0.png,a,x\n1.png,b,y\n", "0.png", "1.png"), {"x": 1, "y": 1}, read=ReadOptions(label_column="kind")
    ),
    # tars
    "a second image of a sample": Kind(
        lambda root: tar(root, ("1.left.png", png(1)), ("1.right.png", png(2)), ("2.png", png(3))), {"": 2}, says=("1 further images of one sample",)
    ),
    "a mask before its image": Kind(
        lambda root: tar(root, ("1.seg.png", png(1)), ("1.jpg", encoded(picture(2), "JPEG")), ("2.png", png(3))), {"": 2}, says=("the same, e.g. x.tar/1.seg.png",)
    ),
    "dots in names (datasets#6880)": Kind(
        lambda root: tar(root, ("22.05.png", png(1)), ("22.06.png", png(2)), ("23.png", png(3))), {"": 2}, says=("whose name up to its first dot is the same, e.g. x.tar/22.06.png",)
    ),
    "dots in folders (datasets#7150)": Kind(lambda root: tar(root, ("v1.0/1.png", png(1)), ("v1.0/2.png", png(2))), {"": 2}),
    "a label without image": Kind(
        lambda root: tar(root, ("1.png", png(1)), ("1.cls", b"a"), ("2.cls", b"b"), ("3.png", png(3)), ("3.cls", b"b")),
        {"a": 1, "b": 1},
        says=("1 samples without an image, labels among them, e.g. x.tar/2.cls",),
    ),
    "a name twice (webdataset#157)": Kind(lambda root: tar(root, ("1.png", png(1)), ("2.png", png(2)), ("1.png", png(3))), {"": 3}),
    "an image of another suffix": Kind(lambda root: tar(root, ("1.png", png(1)), ("2.bin", png(2)), ("3.jp2", b"x")), {"": 2}, says=("1 .jp2 images",)),
    # values
    "arrays from -1 to 1": Kind(lambda root: npz(root, images=NUMBERS / 127.5 - 1), refused="--value-range LOW,HIGH"),
    "arrays from -1 to 1, said so": Kind(lambda root: npz(root, images=NUMBERS / 127.5 - 1), {"": 12}, read=ReadOptions(value_range=(-1, 1))),
    "a range that is none": Kind(lambda root: npz(root, images=NUMBERS), refused="LOW must be smaller", read=ReadOptions(value_range=(1, 1))),
    "12 bits": Kind(lambda root: deep(root, lambda v: (v * 16).astype(np.uint16)), {"": 6}, says=("0 is black and 4,095 white", "--value-range")),
    "an option that means nothing": Kind(lambda root: put(root, "0.png"), refused="has no columns", read=ReadOptions(image_column="x")),
}  # fmt: skip


def counts(items: nd.ImageSet) -> dict[str, int]:
    labels = [items.classes[k] if k >= 0 else "" for k in items.known_labels()]
    return {name: labels.count(name) for name in sorted(set(labels))}


@pytest.mark.parametrize("name", KINDS)
def test_kind(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    (tmp_path / "in").mkdir()
    made = kind.make(tmp_path / "in")
    source, labels = made if isinstance(made, tuple) else (made, None)
    given: dict[str, Any] = {"labels": labels, "cache": tmp_path / "cache", "progress": False, "read": kind.read}
    if kind.refused:
        with pytest.raises((DataError, ConfigError), match=kind.refused) as caught:
            nd.load(str(source), **given)
        assert "\n" not in str(caught.value)
        return
    for _ in range(2):  # the second time from the cache
        found = nd.load(str(source), **given)
        assert counts(found.train) == kind.train
        assert (None if found.test is None else counts(found.test)) == kind.test
        ids = [*found.train.ids.tolist(), *([] if found.test is None else found.test.ids.tolist())]
        assert len(set(ids)) == len(ids)
        told = nd.remarks(found)
        for words in kind.says:
            assert any(words in remark for remark in told), (words, told)
        described = nd.describe(found)
        assert [item["count"] for item in described.get("left_out", [])] == [item.count for item in found.left_out]


@pytest.mark.parametrize(
    ("change", "suffix", "levels"),
    [
        (lambda v: (v * 16).astype(np.uint16), "png", 150),
        (lambda v: (v * 16).astype(np.uint16), "tif", 150),
        (lambda v: (v * 4).astype(np.uint16), "png", 150),
        (lambda v: (v * 257).astype(np.uint16), "png", 150),
        (lambda v: v.astype(np.int32), "tif", 150),
        (lambda v: (v * 65537 * 100).astype(np.int32), "tif", 150),
        (lambda v: v.astype(np.float32), "tif", 150),
        (lambda v: (v / 255).astype(np.float32), "tif", 150),
        (lambda v: (v * 10 - 1000).astype(np.int32), "tif", 150),
        (lambda v: (v * 10 - 1000).astype(np.float32), "tif", 150),
    ],
)
def test_deep_gray_keeps_its_levels_and_the_order_of_exposures(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], suffix: str, levels: int
) -> None:
    found = nd.load(str(deep(tmp_path / "set", change, suffix)), cache=tmp_path / "cache", progress=False)
    means = found.train.images.mean(axis=(1, 2, 3))
    assert len(np.unique(found.train.images)) > levels and (np.diff(means) > 5).all()
    assert found.value_range is not None and any("deeper than 8 bits" in note for note in found.notes)
    table = {"image": [file.read_bytes() for file in sorted((tmp_path / "set").iterdir())]}
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    for source in ("x.parquet", "x*.parquet"):
        other = nd.load(str(tmp_path / source), cache=tmp_path / "cache", progress=False)
        assert np.array_equal(other.train.images, found.train.images) and other.value_range == found.value_range


def test_a_range_that_was_given_and_eight_bits_beside(tmp_path: Path) -> None:
    root = deep(tmp_path / "set", lambda v: (v * 16).astype(np.uint16))
    picture(7, "L").save(root / "8bit.png")
    found = nd.load(str(root), cache=tmp_path / "cache", progress=False, read=ReadOptions(value_range=(0, 8160)))
    usual = nd.load(str(root), cache=tmp_path / "cache", progress=False)
    assert abs(float(found.train.images[5].mean()) * 2 - float(usual.train.images[5].mean())) < 2
    assert np.array_equal(found.train.images[6], usual.train.images[6]) and any("as given" in n for n in found.notes)


def test_a_header_that_tells_its_bits(tmp_path: Path) -> None:
    """A dark set of 12 bits, whose values alone would say 10."""
    root = tmp_path / "set"
    root.mkdir()
    for k in range(3):
        values = np.asarray(picture(k, "L")).astype(np.uint16) * 4
        Image.fromarray(values).save(root / f"{k}.tif", tiffinfo={281: 4095})
    found = nd.load(str(root), cache=tmp_path / "cache", progress=False)
    assert found.value_range == (0, 4095) and any("as the headers say" in note for note in found.notes)


def test_transparency_is_the_same_colour_in_a_file_an_array_and_a_row(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 4), dtype=np.uint8)
    for k, item in enumerate(pixels):
        write(tmp_path / "set" / f"{k}.png", encoded(Image.fromarray(item)))
    np.savez(tmp_path / "x.npz", images=pixels)
    pq.write_table(pa.table({"image": [encoded(Image.fromarray(item)) for item in pixels]}), tmp_path / "x.parquet")
    files, arrays, rows = (
        nd.load(str(tmp_path / name), cache=tmp_path / "cache", progress=False).train.images
        for name in ("set", "x.npz", "x.parquet")
    )
    assert np.array_equal(files, arrays) and np.array_equal(files, rows)


def test_one_rule_for_labels_everywhere(tmp_path: Path) -> None:
    """Also for embeddings: NaN is none, a whole number is no fraction."""
    labels = np.array([1.0, 2.0, np.nan])
    table = pa.table({"embedding": [[0.0, 1.0]] * 3, "label": labels})
    from_arrays = write(tmp_path / "e.npz", b"")
    np.savez(from_arrays, embedding=np.zeros((3, 2), np.float32), label=labels)
    for made in (Embeddings.from_arrow(table), Embeddings.load(from_arrays)):
        assert made.classes == ("1", "2") and made.labels is not None and made.labels.tolist() == [0, 1, -1]


def test_what_a_label_file_names_is_an_image_wherever_it_lies(tmp_path: Path) -> None:
    root = put(tmp_path / "set", "train/", "test/", "extra/", each=3)
    labels = write(tmp_path / "labels.csv", "path,split\nextra/1.png,train\n")
    found = nd.load(str(root), labels=labels, cache=tmp_path / "cache", progress=False)
    assert "extra/1.png" in found.train.ids and len(found.train) == 4
    assert [(item.count, item.example) for item in found.left_out] == [(2, "extra/0.png")]
    assert images_of(np.array(["extra/1.png", "train/0.png"]), str(root)).ids.tolist() == ["extra/1.png", "train/0.png"]


def test_the_command_says_what_it_found_and_takes_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "cache"))
    source = str(fine_and_coarse(tmp_path))
    assert "labels could be taken from fine_label, coarse_label" in invoke("data", "info", source)
    assert "a 4, b 4, c 4" in invoke("data", "info", source, "--label-column", "fine_label", "--image-column", "img")
    root = str(put(tmp_path / "set", "train/", "test/", "ground_truth/", each=3))
    assert "left out: 3 masks or annotations, in folders beside the images, e.g. ground_truth/0.png" in (
        " ".join(invoke("data", "info", root).split())
    )
    told = json.loads(invoke("data", "info", root, "--json"))["left_out"]
    assert [(item["count"], item["example"]) for item in told] == [(3, "ground_truth/0.png")]
    assert "expected LOW,HIGH" in invoke("data", "info", root, "--value-range", "3", code=2)
    assert "--image-column is for Parquet files" in invoke("data", "info", root, "--image-column", "x", code=2)
    assert "--label-column is for" in invoke("data", "info", "shapes", "--label-column", "x", code=2)
    assert "--value-range is for" in invoke("data", "info", "shapes", "--value-range", "0,1", code=2)


def test_new_images_are_read_by_the_range_that_the_run_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dimmer set beside a set of 12 bits: its own values would be stretched over the whole range."""
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, factor in (("bright", 16), ("dim", 4)):
        root = tmp_path / name
        root.mkdir()
        for k in range(24):
            Image.fromarray(np.asarray(picture(k, "L")).astype(np.uint16) * factor).save(root / f"{k:02d}.png")
    invoke("fit", "bright", "-o", "run", "--method", "raw-pixels", "--preset", "quick", "-q")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["read"] == {"value_range": [0, 4095]}
    for name in ("bright", "dim"):
        invoke("embed", "run", name, "-o", f"{name}.parquet", "-q")
    invoke("embed", "run", "dim", "-o", "parts", "-q")
    bright, dim, parts = (Embeddings.load(tmp_path / name) for name in ("bright.parquet", "dim.parquet", "parts"))
    assert dim.provenance["read"] == {"value_range": [0, 4095]} == bright.provenance["read"]
    assert dim.image_size == 16 and float(dim.Z.std()) < 0.3 * float(bright.Z.std())
    assert np.allclose(np.sort(parts.Z, axis=0), np.sort(dim.Z, axis=0))
    invoke("search", "dim.parquet", "dim/03.png", "--run", "run", "--images", "dim", "--html", "x.html")
    assert (tmp_path / "x.html").exists()
