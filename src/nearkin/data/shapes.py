"""The built-in data set: procedural 32 x 32 colour images with known factors.

Each image shows four copies of one shape, so that most crops see some of it. Shape is the class; everything
else is nuisance, drawn per image and recorded: foreground and background hue, background texture, mean
position, size and angle. Raw pixels are a poor guide, because position, colour and contrast sign vary.
The classes "square" and "diamond" share their backgrounds (only textures 0 and 1 occur with them), so an
embedding that looks at backgrounds entangles them; all other classes have all four textures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearkin.data.imageset import Dataset, ImageSet, fingerprint

CLASSES = ("disc", "ring", "square", "diamond", "triangle", "cross", "bars", "star")
SHARED_BACKGROUND = ("square", "diamond")
TEXTURES = ("plain", "gradient", "stripes", "noise")
SIZE = 32
_COPIES = 4
_CHUNK = 500

Grid = NDArray[np.float32]


def _inside(shape: int, u: Grid, v: Grid) -> Grid:
    """Soft membership in [0, 1] of points (u, v) in shape coordinates, where the shape has radius 1."""
    r = np.hypot(u, v)
    a, b = np.abs(u), np.abs(v)
    angle = np.arctan2(v, u)
    signed = (
        1 - r,
        0.28 - np.abs(r - 0.75),
        0.85 - np.maximum(a, b),
        1.1 - (a / 0.75 + b / 1.4),
        np.minimum(v + 0.6, 0.5 - (a * 0.866 + v * 0.5)),
        np.maximum(np.minimum(0.28 - a, 1 - b), np.minimum(0.28 - b, 1 - a)),
        np.minimum(0.22 - np.abs(a - 0.6), 1 - b),
        0.62 + 0.38 * np.cos(5 * angle) - r,
    )[shape]
    return np.clip(signed * 4 + 0.5, 0, 1).astype(np.float32)


def _rgb(hue: Grid, saturation: Grid, value: Grid) -> Grid:
    """HSV in [0, 1], each (n,) -> RGB (n, 3)."""
    k = (hue[:, None] * 6 + np.array([5, 3, 1], dtype=np.float32)) % 6
    drop = np.clip(np.minimum(k, 4 - k), 0, 1)
    out: Grid = value[:, None] * (1 - saturation[:, None] * drop)
    return out


def _background(texture: NDArray[np.int64], rng: np.random.Generator) -> Grid:
    """Brightness factor (n, 32, 32) around 1 for each texture."""
    n = len(texture)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    phi = rng.uniform(0, 2 * np.pi, (n, 1, 1)).astype(np.float32)
    along = np.cos(phi) * x + np.sin(phi) * y
    frequency = rng.uniform(2, 5, (n, 1, 1)).astype(np.float32)
    coarse = np.repeat(np.repeat(rng.uniform(-0.3, 0.3, (n, 8, 8)), 4, axis=1), 4, axis=2).astype(np.float32)
    options = np.stack(
        [np.zeros_like(along), 0.6 * (along - 0.35), 0.25 * np.sin(2 * np.pi * frequency * along), coarse]
    )
    return 1 + options[texture, np.arange(n)]


def _draw(
    labels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.generic]]]:
    n = len(labels)
    texture = rng.integers(0, len(TEXTURES), n)
    shared = np.isin(labels, [CLASSES.index(name) for name in SHARED_BACKGROUND])
    texture[shared] %= 2
    hue_bg, hue_fg = rng.uniform(0, 1, (2, n)).astype(np.float32)
    value_bg = rng.uniform(0.25, 0.9, n).astype(np.float32)
    lighter = np.where(value_bg > 0.75, False, np.where(value_bg < 0.4, True, rng.uniform(size=n) < 0.5))
    value_fg = np.clip(value_bg + np.where(lighter, 1, -1) * rng.uniform(0.3, 0.55, n), 0.02, 1).astype(np.float32)
    saturation = rng.uniform(0.1, 0.8, (2, n)).astype(np.float32)
    radius = rng.uniform(4.5, 7.5, n).astype(np.float32)
    angle = rng.uniform(-0.6, 0.6, n).astype(np.float32)
    # Four copies around the image's middle, jittered, then shifted together.
    corners = np.array([[-8, -8], [-8, 8], [8, -8], [8, 8]], dtype=np.float32)
    shift = rng.uniform(-8, 8, (n, 1, 2))
    centres = (SIZE / 2 - 0.5 + corners[None] + shift + rng.uniform(-2.5, 2.5, (n, _COPIES, 2))).astype(np.float32)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    mask = np.zeros((n, SIZE, SIZE), dtype=np.float32)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    for copy in range(_COPIES):
        dy = (y - centres[:, copy, 0, None, None]) / radius[:, None, None]
        dx = (x - centres[:, copy, 1, None, None]) / radius[:, None, None]
        u, v = cos * dx + sin * dy, -sin * dx + cos * dy
        for shape in range(len(CLASSES)):
            rows = labels == shape
            mask[rows] = np.maximum(mask[rows], _inside(shape, u[rows], v[rows]))
    back = _rgb(hue_bg, saturation[0], value_bg)[:, :, None, None] * _background(texture, rng)[:, None]
    front = _rgb(hue_fg, saturation[1], value_fg)[:, :, None, None]
    image = back * (1 - mask[:, None]) + front * mask[:, None]
    image += rng.normal(0, 0.02, image.shape)
    factors: dict[str, NDArray[np.generic]] = {
        "background": texture,
        "background_hue": hue_bg,
        "foreground_hue": hue_fg,
        "y": centres.mean(axis=1)[:, 0],
        "x": centres.mean(axis=1)[:, 1],
        "size": radius,
        "angle": angle,
    }
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), factors


def _make(split: str, n: int, seed: int) -> ImageSet:
    rng = np.random.default_rng([seed, {"train": 0, "test": 1}[split]])
    labels = rng.permutation(np.arange(n) % len(CLASSES))
    parts = [_draw(labels[start : start + _CHUNK], rng) for start in range(0, n, _CHUNK)]
    return ImageSet(
        images=np.concatenate([images for images, _ in parts]),
        ids=np.array([f"{split}/{i:05d}" for i in range(n)]),
        labels=labels,
        classes=CLASSES,
        factors={name: np.concatenate([f[name] for _, f in parts]) for name in parts[0][1]},
    )


def shapes(n_train: int = 6000, n_test: int = 1500, seed: int = 0) -> Dataset:
    """Generate the data set: uint8 (n, 3, 32, 32), eight balanced classes, factors recorded per image."""
    train, test = _make("train", n_train, seed), _make("test", n_test, seed)
    return Dataset("shapes", "shapes", train, test, fingerprint(train, test))
