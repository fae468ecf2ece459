"""A digest of a data set's content, so that results can name exactly what they were computed on."""

from __future__ import annotations

import hashlib

import numpy as np

from nearkin.data.imageset import ImageSet

_CHUNK = 4096


def fingerprint(*sets: ImageSet | None) -> str:
    """SHA-256 (first 16 hex digits) over images, ids and labels of the sets."""
    digest = hashlib.sha256()
    for item in sets:
        if item is None:
            digest.update(b"none")
            continue
        digest.update(str(item.images.shape).encode())
        for start in range(0, len(item), _CHUNK):  # the images may be on disk, and more than fit in memory
            digest.update(np.ascontiguousarray(item.images[start : start + _CHUNK]).data)
        digest.update("\n".join(item.ids.tolist()).encode("utf-8", "surrogateescape"))
        digest.update(b"" if item.labels is None else np.ascontiguousarray(item.labels).tobytes())
    return digest.hexdigest()[:16]
