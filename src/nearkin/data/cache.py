"""Decoded images on disk, keyed by the files' content, so that a second start maps them in about a second."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.data.imageset import Skipped
from nearkin.data.npyfile import NpyWriter

Index = tuple[list[str], list[Skipped], list[str]]  # paths of the images, unreadable files, notes
Decoded = tuple[NDArray[np.uint8], Index]
_VERSION = 2
_KEY_LENGTH = 32


def default_root() -> Path:
    """$NEARKIN_CACHE, or $XDG_CACHE_HOME/nearkin, or ~/.cache/nearkin."""
    base = os.environ.get("NEARKIN_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearkin"


class Cache:
    """Decoded sets: decoded/KEY/images.npy (memory-mapped) and index.json, KEY a digest of content and settings.

    Reading all files only to hash them would cost most of what the cache saves, so stamps/ remembers which key
    belongs to which listing (folder, names, sizes, modification times). A moved or copied folder misses the stamp,
    is hashed, and finds its images by content.
    A cache that cannot be written or read is no error: the set is decoded again.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root or default_root()

    def _stamp_file(self, stamp: str) -> Path:
        return self.root / "stamps" / _digest(stamp)

    def key_of(self, stamp: str) -> str | None:
        """The content key remembered for this listing, or None."""
        try:
            key = self._stamp_file(stamp).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return key if len(key) == _KEY_LENGTH and key.isalnum() else None

    def remember(self, stamp: str, key: str) -> None:
        """Note that this listing has this content."""
        try:
            file = self._stamp_file(stamp)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(key, encoding="ascii")
        except OSError:
            return

    @staticmethod
    def key(contents: str, settings: str) -> str:
        """The key of a set with this digest of its files, decoded with these settings."""
        return _digest(f"{_VERSION}\n{contents}\n{settings}")

    def load(self, key: str) -> Decoded | None:
        """The cached set, or None where there is none or it is damaged."""
        folder = self.root / "decoded" / key
        try:
            index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
            skipped = [Skipped(**item) for item in index["skipped"]]
            paths, notes = list(index["paths"]), list(index["notes"])
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(paths):
            return None
        return images, (paths, skipped, notes)

    def save(self, key: str, fill: Callable[[Callable[[NDArray[np.uint8]], None]], Index]) -> Decoded | None:
        """Let ``fill(append)`` write the images one by one, and map them; None where the disk refuses.

        They go to a temporary folder that is renamed, so that an entry is whole or not there.
        """
        folder = self.root / "decoded" / key
        temporary: Path | None = None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tmp-"))
            with NpyWriter(temporary / "images.npy") as writer:
                paths, skipped, notes = fill(writer.append)
            index = {"paths": paths, "skipped": [vars(item) for item in skipped], "notes": notes}
            (temporary / "index.json").write_text(json.dumps(index), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one would block the rename
            os.replace(temporary, folder)
        except OSError:
            return None
        finally:
            if temporary is not None:  # left by an error or an interrupt
                shutil.rmtree(temporary, ignore_errors=True)
        return self.load(key)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_KEY_LENGTH]
