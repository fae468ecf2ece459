"""Decoded images on disk, so that a second start maps them in about a second."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.data.imageset import Skipped

Decoded = tuple[NDArray[np.uint8], list[str], list[Skipped], list[str]]
_VERSION = 1


def default_root() -> Path:
    """$NEARKIN_CACHE, or $XDG_CACHE_HOME/nearkin, or ~/.cache/nearkin."""
    base = os.environ.get("NEARKIN_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearkin"


class Cache:
    """One cached set: images.npy (memory-mapped) and index.json, in a folder named by the key's digest.

    A cache that cannot be written or read is no error: the set is decoded again.
    """

    def __init__(self, root: Path | None, stamp: str) -> None:
        key = hashlib.sha256(f"{_VERSION}{stamp}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
        self.folder = (root or default_root()) / "decoded" / key

    def load(self) -> Decoded | None:
        """The cached set, or None where there is none or it is damaged."""
        try:
            index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
            images = np.load(self.folder / "images.npy", mmap_mode="r", allow_pickle=False)
            skipped = [Skipped(**item) for item in index["skipped"]]
            paths, notes = list(index["paths"]), list(index["notes"])
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(paths):
            return None
        return images, paths, skipped, notes

    def save(self, images: NDArray[np.uint8], paths: list[str], skipped: list[Skipped], notes: list[str]) -> None:
        """Write to a temporary folder and rename; silently give up where the disk refuses."""
        index = {"paths": paths, "skipped": [vars(item) for item in skipped], "notes": notes}
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=".tmp-"))
            np.save(temporary / "images.npy", images, allow_pickle=False)
            (temporary / "index.json").write_text(json.dumps(index), encoding="utf-8")
            shutil.rmtree(self.folder, ignore_errors=True)  # a damaged one would block the rename
            os.replace(temporary, self.folder)
        except OSError:
            return
