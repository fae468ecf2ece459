"""Splits and classes read off the paths of a folder of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "test",
    "valid": "test",
    "validation": "test",
}


def train_or_test(names: Iterable[str]) -> dict[str, str]:
    """What each split name (a key of SPLITS, lower case) serves as: "train" or "test".

    A validation split is the test set only where there is no other; beside a test split it joins train, of which
    validation is held out.
    """
    names = set(names)
    has_test = bool(names & {"test", "testing"})
    return {name: "train" if has_test and name.startswith("val") else SPLITS[name] for name in names}


@dataclass(frozen=True)
class Layout:
    """Attributes:
    split: "train" or "test" per path. label: class name or None per path.
    notes: what was concluded, in words.
    """

    split: tuple[str, ...]
    label: tuple[str | None, ...]
    notes: tuple[str, ...]


def _common_depth(parts: list[tuple[str, ...]]) -> int:
    """How many leading folders all paths share (a zip often wraps everything in one)."""
    depth = 0
    while parts and all(len(p) > depth + 1 for p in parts) and len({p[depth] for p in parts}) == 1:
        if parts[0][depth].lower() in SPLITS:
            break
        depth += 1
    return depth


def read_layout(paths: tuple[str, ...]) -> Layout:
    """Conclude split and class of every path.

    A top folder named train, test, val (or training, testing, valid, validation) is a split; a validation
    folder serves as test only when there is no test folder, and as train otherwise. Below that, the first
    folder is the class when there are at least two such folders and, on average, two images in each;
    otherwise images are taken as unlabelled.
    """
    parts = [tuple(path.split("/")) for path in paths]
    depth = _common_depth(parts)
    rest = [p[depth:] for p in parts]
    notes: list[str] = []
    tops = {p[0].lower() for p in rest if len(p) > 1}
    split = ["train"] * len(paths)
    if tops & set(SPLITS) and any(SPLITS.get(top) == "train" for top in tops):
        serves = train_or_test(tops & set(SPLITS))
        for i, p in enumerate(rest):
            if len(p) > 1 and p[0].lower() in SPLITS:
                split[i] = serves[p[0].lower()]
                rest[i] = p[1:]
        notes.append("split folders found: " + ", ".join(sorted(tops & set(SPLITS))))
    elif len(tops) == 1 and tops <= set(SPLITS) and all(len(p) > 1 for p in rest):
        # A lone test folder is no class: its images are all there is, and its sub-folders may be classes.
        rest = [p[1:] for p in rest]
        notes.append(f"only a '{next(iter(tops))}' folder found: its images are taken as one set")
    names = [p[0] if len(p) > 1 else None for p in rest]
    counts = Counter(name for name in names if name is not None)
    if depth and not counts:  # one folder holds everything: a class or a mere wrapper, and either way no labels
        notes.append(f"one class only ('{parts[0][depth - 1]}'): treated as unlabelled")
    if len(counts) == 1 and None not in names:
        notes.append(f"one class only ('{next(iter(counts))}'): treated as unlabelled")
    if len(counts) < 2 or sum(counts.values()) < 2 * len(counts):
        if len(counts) >= 2:
            notes.append(f"{len(counts)} sub-folders with fewer than 2 images each on average: not taken as classes")
        names = [None] * len(paths)
    return Layout(tuple(split), tuple(names), tuple(notes))
