"""Splits and classes read off the paths of a folder of images, and what beside the images is none of them.

Known layouts: split folders, one folder per class, both in either order, and those of MVTec AD (``train/good``, ``test/*``,
``ground_truth/*``, one category or all), Pascal VOC, COCO and YOLO (``images/train2017`` beside ``labels``).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from nearkin.data.imageset import LeftOut, LeftOutCounter

_TRAIN, _VAL, _TEST = ("train", "training"), ("val", "valid", "validation", "dev", "eval"), ("test", "testing")
_UNLABELLED = ("unlabeled", "unlabelled")
SPLITS = dict.fromkeys((*_TRAIN, *_UNLABELLED), "train") | dict.fromkeys((*_TEST, *_VAL), "test")
LEGAL_SPLITS = tuple(SPLITS)
# Words without meaning for a split, as in train_images and train2017.
_EMPTY_WORDS = {"images", "image", "imgs", "img", "data", "dataset", "set", "split"}
_IMAGE_FOLDERS = {"images", "image", "imgs", "img", "jpegimages", "rgb", "photos", "pictures", "leftimg8bit"}
_SIDE_FOLDERS = {
    *(
        "masks",
        "mask",
        "ground_truth",
        "groundtruth",
        "gt",
        "gtfine",
        "gtcoarse",
        "annotations",
        "annotation",
        "labels",
        "label",
    ),
    *(
        "segmentation",
        "segmentations",
        "segmentationclass",
        "segmentationclassaug",
        "segmentationobject",
        "trimaps",
        "seg",
    ),
    *("depth", "depths", "instances", "panoptic", "stuffthingmaps", "saliency", "edges"),
}
_MASK_NAME = re.compile(r"[-_.](?:mask|masks|segmentation|seg|gt|groundtruth)(?:[-_.]?\d+)?$", re.I)


def split_name(folder: str) -> str | None:
    """The split, a key of SPLITS, that a folder or cell is named after: "train" of "Train_2017" and "train-images", else None."""
    name = folder.strip().lower()
    if name in SPLITS:
        return name
    words = [word for word in re.split(r"[-_. ]+", re.sub(r"(?<=[a-z])(?:19|20)\d\d$", "", name)) if word]
    words = [word for word in words if word not in _EMPTY_WORDS and not re.fullmatch(r"(?:19|20)\d\d", word)]
    if len(words) != 1:
        return None
    return next((word for word in (words[0], words[0].removesuffix("set")) if word in SPLITS), None)


def train_or_test(names: Iterable[str]) -> dict[str, str]:
    """Map each split name (a key of SPLITS) to "train" or "test".

    A validation split is the test set only where there is no other; beside a test split it joins train, of which
    validation is held out. "dev" and "eval" are validation.
    """
    names = set(names)
    has_test = bool(names & set(_TEST))
    return {name: "train" if has_test and name in _VAL else SPLITS[name] for name in names}


@dataclass(frozen=True)
class Layout:
    """Attributes:
    split: "train" or "test" per path. label: class name or None per path.
    notes: what was concluded, in words.
    """

    split: tuple[str, ...]
    label: tuple[str | None, ...]
    notes: tuple[str, ...]


class _Folder:
    """A folder with how many images lie directly in it, and its sub-folders that hold some."""

    def __init__(self, path: str = "") -> None:
        self.path, self.images, self.folders = path, 0, dict[str, _Folder]()

    @property
    def deep(self) -> bool:
        """Whether it has sub-folders."""
        return bool(self.folders)

    def every(self) -> Iterator[_Folder]:
        """Itself and all below."""
        yield self
        for folder in self.folders.values():
            yield from folder.every()


def _tree(paths: Iterable[str]) -> _Folder:
    root = _Folder()
    for path, count in Counter(path.rpartition("/")[0] for path in paths).items():
        folder = root
        for name in path.split("/") if path else ():
            folder = folder.folders.setdefault(name, _Folder(f"{folder.path}{name}/"))
        folder.images += count
    return root


def _unwrapped(folder: _Folder) -> _Folder:
    """The first folder below with more than one thing in it, or with a split: a zip often wraps everything in one."""
    while not folder.images and len(folder.folders) == 1:
        name, inside = next(iter(folder.folders.items()))
        if split_name(name):
            break
        folder = inside
    return folder


def _splits_in(folder: _Folder) -> dict[str, str]:
    """Which sub-folders are splits: folder -> key of SPLITS; empty where they are none.

    A folder "train" among two or more that are no splits, all without sub-folders, is a class: Pascal VOC has one.
    """
    inside = folder.folders
    splits = {name: split for name in inside if (split := split_name(name))}
    kinds = set(splits.values())
    if len(inside) == 1 and not folder.images and not kinds & set(_TRAIN):
        return {}  # there is only a test folder
    if kinds <= set(_UNLABELLED):
        return {}
    others = [name for name in inside if name not in splits and name.lower() not in _SIDE_FOLDERS]
    if len(others) > 1 and kinds <= set(_TRAIN) and not any(item.deep for item in inside.values()):
        return {}
    return splits


def _splits_below(folder: _Folder) -> bool:
    """Whether there are several sub-folders, and each has split folders of its own, one of them to train on."""
    if folder.images or len(folder.folders) < 2:
        return False
    for inside in folder.folders.values():
        kinds = {SPLITS[name] for name in _splits_in(inside).values()}
        if inside.images or len(inside.folders) < 2 or "train" not in kinds:
            return False
    return True


def leave_out(paths: Sequence[str], keep: Collection[str] = ()) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    """The paths of images, and notes on the files left out: masks, annotations, and folders beside the splits.

    Paths in ``keep`` are images wherever they lie.
    """
    counter = LeftOutCounter()
    drop: dict[str, str] = {}
    _find_side_folders(_tree(paths), drop, levels=3)
    masks = _masks(paths)
    kept = []
    for k, path in enumerate(paths):
        reason = drop.get(path.rpartition("/")[0] + "/") if drop else None
        if reason is None and k in masks:
            reason = "masks, named after the image beside them"
        if reason is None or path in keep:
            kept.append(path)
        else:
            counter.add(reason, path)
    return tuple(kept), counter.all()


def _masks(paths: Sequence[str]) -> set[int]:
    """The numbers of files like x_mask.png that lie beside an x.jpg."""
    ends = [path.rpartition(".")[0] if "." in path.rpartition("/")[2] else path for path in paths]
    tails = (end[-20:].lower() for end in ends)  # most names are told from masks by this alone, which is fast
    like_masks = [k for k, tail in enumerate(tails) if "mask" in tail or "seg" in tail or "g" in tail and "t" in tail]
    owners = {k: own for k in like_masks if (own := _MASK_NAME.sub("", ends[k])) != ends[k]}
    there = set(ends) if owners else set()
    return {k for k, own in owners.items() if own in there}


def _find_side_folders(folder: _Folder, drop: dict[str, str], levels: int) -> None:
    """Note, by path, folders of masks beside images or splits, and folders and images beside splits that are in none."""
    folder = _unwrapped(folder)
    splits = _splits_in(folder)
    sides = {name for name in folder.folders if name.lower() in _SIDE_FOLDERS and name not in splits}
    images = any(name.lower() in _IMAGE_FOLDERS for name in folder.folders)
    trains = any(SPLITS[name] == "train" for name in splits.values())
    for name, inside in folder.folders.items():
        if name in sides and (splits or images):
            reason = "masks or annotations, in folders beside the images"
        elif trains and name not in splits:
            reason = "images in folders beside the splits that are none"
        else:
            if levels > 1:
                _find_side_folders(inside, drop, levels - 1)
            continue
        drop.update({item.path: reason for item in inside.every()})
    if trains and folder.images:
        drop[folder.path or "/"] = "images beside the split folders, in none of them"


def read_layout(paths: Sequence[str]) -> Layout:
    """Conclude split and class of every path.

    Folders named train, test, val (or training, testing, valid, validation, dev, eval, unlabeled, train2017, train_images, ...)
    are splits; a validation folder serves as test only when there is no test folder, and as train otherwise. Below them, the
    first folder is the class when there are at least two such folders and, on average, two images in each; otherwise images
    are taken as unlabelled. Where every folder has splits of its own, the folders are the classes.
    """
    root = _unwrapped(_tree(paths))
    depth = root.path.count("/")
    rest = [tuple(path.split("/")[depth:]) for path in paths]
    notes: list[str] = []
    split = ["train"] * len(paths)
    splits = _splits_in(root)
    if splits:
        serves = train_or_test(splits.values())
        for i, p in enumerate(rest):
            if len(p) > 1 and p[0] in splits:
                split[i] = serves[splits[p[0]]]
                inside = next(iter(root.folders[p[0]].folders), "")
                # Tiny ImageNet has val/images beside train/CLASS/images.
                only = len(root.folders[p[0]].folders) == 1 and inside.lower() in _IMAGE_FOLDERS
                rest[i] = p[2:] if only and len(p) > 2 else p[1:]
        notes.append(f"split folders found: {', '.join(sorted(name.lower() for name in splits))}")
    elif len(root.folders) == 1 and not root.images and split_name(next(iter(root.folders))):
        # A lone test folder is no class: its images are all there is, and its sub-folders may be classes.
        rest = [p[1:] for p in rest]
        notes.append(f"only a '{next(iter(root.folders)).lower()}' folder found: its images are taken as one set")
    elif _splits_below(root):
        names = {name: split for inside in root.folders.values() for name, split in _splits_in(inside).items()}
        serves = train_or_test(names.values())
        split = [serves[names[p[1]]] if p[1] in names else "train" for p in rest]
        notes.append(
            f"split folders found in each of {len(root.folders)} folders, which are taken as classes: "
            + ", ".join(sorted(name.lower() for name in names))
        )
        rest = [(p[0], p[-1]) for p in rest]
    elif any(split_name(name) in _TRAIN for name in root.folders):
        notes.append("a folder 'train' is taken as a class, as the folders beside it are no splits")
    return Layout(tuple(split), *_classes(rest, split, root, notes))


def _classes(
    rest: Sequence[tuple[str, ...]], split: Sequence[str], root: _Folder, notes: list[str]
) -> tuple[tuple[str | None, ...], tuple[str, ...]]:
    names = [p[0] if len(p) > 1 else None for p in rest]
    counts = Counter(name for name in names if name is not None)
    tested = {name for name, which in zip(names, split, strict=True) if which == "test" and name is not None}
    trained = {name for name, which in zip(names, split, strict=True) if which == "train" and name is not None}
    if len(tested) == 1 and len(trained) > 1 and not tested & trained:  # test/unknown/*.jpg, as competitions have it
        alone = tested.pop()
        notes.append(f"the test images lie in one folder, '{alone}', that train does not have: taken as unlabelled")
        names = [None if which == "test" else name for name, which in zip(names, split, strict=True)]
        del counts[alone]
    only = ""
    if root.path and not counts:  # one folder holds everything: a class or a mere wrapper, and either way no labels
        only = root.path.rstrip("/").rpartition("/")[2]
    if len(counts) == 1 and None not in names:
        only = next(iter(counts))
    if only and only.lower() not in _IMAGE_FOLDERS:
        notes.append(f"one class only ('{only}'): treated as unlabelled")
    if len(counts) < 2 or sum(counts.values()) < 2 * len(counts):
        if len(counts) >= 2:
            notes.append(f"{len(counts)} sub-folders with fewer than 2 images each on average: not taken as classes")
        names = [None] * len(rest)
    return tuple(names), tuple(notes)


def alike(names: Iterable[str]) -> list[str]:
    """Notes on class names that differ only in case, spaces or Unicode form, and are probably one class."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    return [
        f"classes whose names differ only in case, spaces or Unicode form: {', '.join(map(repr, group))}"
        for group in groups.values()
        if len(group) > 1
    ][:3]
