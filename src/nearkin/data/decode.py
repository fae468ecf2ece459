"""One encoded image -> RGB, whatever its mode, orientation or depth; and the side that a set is brought to."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nearkin.errors import ConfigError

MAX_PIXELS = 100_000_000  # checked from the header, before any pixel is decoded
MAX_BYTES = 256 * 1024 * 1024
MAX_RECORD = 64 * 1024**2  # bytes of one encoded image of a shard; some dozens of them are in memory at once
SIZES = (32, 64, 96, 128, 224)  # sides that a set of mixed sizes may be brought to
# Pillow tells formats by content, whatever the name, and knows some that it hands to other programs (EPS).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
EXTENSIONS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".jfif",
    ".jpe",
)

# Common image formats that are not decoded here. They are counted, so that users learn of them early.
FOREIGN = (
    *(".heic", ".heif", ".hif", ".avif", ".jxl", ".psd", ".svg"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jpm"),
    *(
        ".dng",
        ".cr2",
        ".cr3",
        ".crw",
        ".nef",
        ".nrw",
        ".arw",
        ".raf",
        ".orf",
        ".rw2",
        ".rwl",
        ".pef",
        ".srw",
        ".sr2",
        ".x3f",
    ),
    *(".3fr", ".iiq", ".erf", ".kdc", ".mrw"),
    *(".exr", ".hdr", ".pfm", ".dds", ".tga", ".ico", ".icns", ".cur", ".dib", ".pcx", ".qoi", ".sgi", ".ras", ".im"),
    *(".xbm", ".xpm", ".eps", ".wmf", ".emf"),
    *(".dcm", ".fits", ".fit", ".nii", ".mha", ".nrrd", ".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".nd2", ".lif"),
)
_JPEG2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")
SNIFFED = 16  # bytes that :func:`sniff` needs

DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow's modes of gray with more than 8 bits
_DEPTHS = (8, 10, 12, 14, 16, 20, 24, 28, 31, 32)  # bits that whole numbers are taken to have, by the largest of a set
ValueRange = tuple[float, float]  # what becomes black, what becomes white


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading a set; None for the default.

    Attributes:
        image_column, label_column: columns of Parquet files (:func:`nearkin.data.parquet.choose_columns`). ``label_column`` is
            also the column of a label file; "none" reads no labels.
        value_range: (LOW, HIGH), what is black and what is white in gray images deeper than 8 bits, and in arrays.
    """

    image_column: str | None = None
    label_column: str | None = None
    value_range: ValueRange | None = None

    def given(self) -> dict[str, Any]:
        """The options given, JSON-able; {} without any."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items() if v is not None}

    def used_for(self, value_range: ValueRange | None) -> ReadOptions:
        """These options with the range that a set was read with: the next set is to be read with it, too."""
        return self if value_range is None else ReadOptions(self.image_column, self.label_column, value_range)

    @classmethod
    def of(cls, record: Any) -> ReadOptions:
        """The inverse of :meth:`given`, for values of a file. Other entries are ignored."""
        record = record if isinstance(record, dict) else {}
        given = record.get("value_range")
        pair = isinstance(given, list) and len(given) == 2 and all(isinstance(v, (int, float)) for v in given)
        columns = (record.get(name) for name in ("image_column", "label_column"))
        image, label = (name if isinstance(name, str) else None for name in columns)
        return cls(image, label, (float(given[0]), float(given[1])) if pair else None)


AS_FOUND = ReadOptions()


def sniff(head: bytes) -> str:
    """The suffix of a kind of image, one of EXTENSIONS or FOREIGN, by a file's first bytes; "" where they are of no image."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return ".bmp"
    if head.startswith((b"II*\0", b"MM\0*")):
        return ".tif"
    if head[:2] in (b"P4", b"P5", b"P6") and head[2:3] in (b" ", b"\n", b"\r", b"\t"):
        return ".ppm"
    if head.startswith(_JPEG2000):
        return ".jp2"
    if head[4:8] == b"ftyp":
        return {b"avif": ".avif", b"heic": ".heic", b"heix": ".heic", b"mif1": ".heic"}.get(head[8:12], "")
    return ""


@dataclass(frozen=True)
class GrayLevels:
    """The values of one gray image of more than 8 bits: its smallest and largest value, whether they are whole numbers, and the
    largest that its header allows (None: it does not say)."""

    low: float
    high: float
    whole: bool
    top: float | None


def gray_levels(data: bytes) -> GrayLevels | None:
    """The levels of an encoded image; None for one of 8 bits, for colour, and for what cannot be decoded.

    Only what may be deep by its first bytes is decoded, so that a set of ordinary files costs nothing.
    """
    deep_png = data[:4] == b"\x89PNG" and data[24:26] == b"\x10\x00"
    if not deep_png and not data.startswith((b"II*\0", b"MM\0*", b"P5", b"Pf")):
        return None
    try:
        image = _opened(data)
        return _levels(image, data) if image.mode in DEEP else None
    except ValueError:
        return None


def _levels(image: Image.Image, data: bytes) -> GrayLevels:
    values = np.asarray(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("pixel values that are not finite")
    top = None
    at = data[:1000].find(b"sBIT")  # the bits that count, where a PNG says so
    if image.format == "PNG" and at > 0 and 8 <= data[at + 4] < 16:
        top = float(2 ** data[at + 4] - 1)
    elif image.format == "PPM":
        top = 65535.0  # Pillow has scaled them by the header's largest value
    elif image.format == "TIFF" and image.mode != "F":
        bits = image.tag_v2.get(258, (16,))[0]  # type: ignore[attr-defined]
        most = image.tag_v2.get(281)  # type: ignore[attr-defined]
        most = most[0] if isinstance(most, tuple) and most else most
        if isinstance(most, int) and 255 <= most < 65535:
            top = float(most)
        elif isinstance(bits, int) and 8 < bits < 16:
            top = float(2**bits - 1)
    return GrayLevels(float(values.min()), float(values.max()), values.dtype.kind != "f", top)


def common_range(levels: Iterable[GrayLevels]) -> ValueRange:
    """One range for all deep gray images of a set: from their headers' bits where all of them say, else from their values.

    Whole numbers begin at 0 and end at the largest of 8, 10, 12, 14, 16, ... bits that is enough; fractions have 0..1 or 0..255
    where they lie in it. Where values are negative, or fractions larger, the set's smallest and largest value count.
    """
    every = list(levels)
    low, high = min(item.low for item in every), max(item.high for item in every)
    tops = [item.top for item in every if item.top is not None]
    if low >= 0 and len(tops) == len(every) and max(tops) >= high:
        return 0.0, max(tops)
    if low >= 0 and all(item.whole for item in every):
        return 0.0, float(next((2**bits - 1 for bits in _DEPTHS if 2**bits > high), high))
    if low >= 0 and high <= 255:
        return 0.0, 1.0 if high <= 1 else 255.0
    return (low, high) if high > low else (low, low + 1)


def range_note(used: ValueRange, levels: Sequence[GrayLevels], *, given: bool) -> str:
    """Says how deep gray images were scaled, and what sets it."""
    low, high = min(item.low for item in levels), max(item.high for item in levels)
    where = (
        "as given"
        if given
        else "as the headers say"
        if all(item.top for item in levels)
        else "by the values of the set"
    )
    return (
        f"{len(levels):,} gray images deeper than 8 bits, with values {low:,.6g} to {high:,.6g}: {used[0]:,.6g} is black and "
        f"{used[1]:,.6g} white for all of them, {where} (--value-range LOW,HIGH sets it)"
    )


def check_value_range(value_range: ValueRange) -> None:
    """Raises ConfigError for an illegal range."""
    low, high = value_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"the value range is {low:g},{high:g}; LOW must be smaller than HIGH, and both finite.")


def scaled(values: NDArray[np.generic], value_range: ValueRange) -> NDArray[np.uint8]:
    """Values of any shape -> uint8, LOW as 0 and HIGH as 255; other values are clipped."""
    low, high = value_range
    return (np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _opened(data: bytes) -> Image.Image:
    """The image, its pixels decoded, the right way up, in its own mode. Raises ValueError with the reason in one line."""
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width < 1 or height < 1:
            raise ValueError("an image without pixels")
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} pixels; at most {MAX_PIXELS:,} are decoded")
        image.load()
        return image
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # Pillow's decoders raise many types (OSError, SyntaxError, struct.error, ...)
        message = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(_no_image(data) if "cannot identify" in message else message) from error


def _no_image(data: bytes) -> str:
    """Why bytes are not an image, where that is a common accident."""
    if data.startswith(b"version https://git-lfs"):
        return "not an image but a Git LFS pointer: 'git lfs pull' fetches the file"
    if data[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "not an image but a web page: the download went wrong"
    if (kind := sniff(data[:SNIFFED])) in FOREIGN:
        return f"a {kind} image: convert it to JPEG or PNG first"
    return "not an image"


def decode(data: bytes, value_range: ValueRange | None = None) -> Image.Image:
    """Decode to an RGB PIL image: EXIF rotation applied, alpha laid over white, deep gray scaled to 8 bits.

    Args:
        value_range: for gray deeper than 8 bits; default: as :func:`common_range` says for this image alone.
    Returns:
        The image; ``info["frames"]`` is set where the file holds several, of which this is the first.
    Raises:
        ValueError: with the reason in one line (not an image, truncated, too many pixels).
    """
    image = _opened(data)
    try:
        several = bool(getattr(image, "is_animated", False))
        deep = image.mode in DEEP
        if deep and value_range is None:
            value_range = common_range([_levels(image, data)])
        image = ImageOps.exif_transpose(image)
        if deep and value_range is not None:
            values = np.asarray(image)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ValueError("pixel values that are not finite")
            image = Image.fromarray(scaled(values, value_range))
        image = over_white(image)
        if several:
            image.info["frames"] = True
        return image
    except ValueError:
        raise
    except Exception as error:  # as in _opened
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def over_white(image: Image.Image) -> Image.Image:
    """RGB, transparency laid over white."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")


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
        label: class name, None where unknown. split: "train", "test", ... as the container says, None where it does not.
    """

    key: str
    data: bytes
    label: str | None = None
    split: str | None = None
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
