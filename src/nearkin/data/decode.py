"""One encoded image -> RGB, whatever its mode, orientation or depth; and the side that a set is brought to."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

MAX_PIXELS = 100_000_000  # checked from the header, before any pixel is decoded
MAX_BYTES = 256 * 1024 * 1024
MAX_RECORD = 64 * 1024**2  # bytes of one encoded image of a shard; some dozens of them are in memory at once
SIZES = (32, 64, 96, 128, 224)  # sides that a set of mixed sizes may be brought to
# Pillow tells formats by content, whatever the name, and knows some that it hands to other programs (EPS).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

# Images that people have and Pillow alone cannot decode. They are not looked at, and counted so that nobody misses them late.
FOREIGN = (
    ".heic",
    ".heif",
    ".avif",
    ".jxl",
    ".dng",
    ".cr2",
    ".cr3",
    ".nef",
    ".arw",
    ".raf",
    ".orf",
    ".rw2",
    ".psd",
    ".svg",
)


def decode(data: bytes) -> Image.Image:
    """Decode to an RGB PIL image: EXIF rotation applied, alpha laid over white, 16-bit gray scaled to 8.

    Raises:
        ValueError: with the reason in one line (not an image, truncated, too many pixels).
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width < 1 or height < 1:
            raise ValueError("an image without pixels")
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} pixels; at most {MAX_PIXELS:,} are decoded")
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
            values = np.asarray(image, dtype=np.float64)
            if not np.isfinite(values).all():
                raise ValueError("pixel values that are not finite")
            top = 65535.0 if image.mode != "F" else max(1.0, float(values.max()))
            image = Image.fromarray((np.clip(values / top, 0, 1) * 255).astype(np.uint8))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return image.convert("RGB")
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # Pillow's decoders raise many types (OSError, SyntaxError, struct.error, ...)
        message = " ".join(str(error).split()) or type(error).__name__
        raise ValueError("not an image" if "cannot identify" in message else message) from error


def to_square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize the short side to ``size`` (bicubic, antialiased), crop the middle: uint8 (3, size, size)."""
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image.

    Attributes:
        key: its name inside the shard. data: the file's bytes; empty where ``problem`` says why it cannot be read.
        label: class name, None where unknown. split: "train", "test", ... as the shard says.
    """

    key: str
    data: bytes
    label: str | None = None
    split: str = "train"
    problem: str = ""


@dataclass(frozen=True)
class ShardImage:
    """A decoded image: ``pixels`` uint8 (3, S, S); ``id`` is "SHARD/KEY"; label and split as in :class:`EncodedImage`."""

    id: str
    pixels: NDArray[np.uint8]
    label: str | None
    split: str


def choose_size(sizes: list[tuple[int, int]]) -> int:
    """One square size for all: theirs if they share one, else the smallest of SIZES >= the median short side."""
    if len(set(sizes)) == 1 and sizes[0][0] == sizes[0][1] and 8 <= sizes[0][0] <= SIZES[-1]:
        return sizes[0][0]
    median = float(np.median([min(size) for size in sizes]))
    return next((size for size in SIZES if size >= median), SIZES[-1])
