"""Candidates for copies that are turned, upside down or inverted, which an embedding may put far apart.

The eight symmetries of the square, each also with inverted brightness, are 16 orientations; upright and mirrored are left to
the embedding. Candidates come from low frequencies of the gray image (its cosine transform), in which a symmetry only changes
signs and swaps rows and columns:

1. Features that are the same in all 16 orientations, and their nearest neighbours: one search, whatever the orientation.
2. Of these neighbours, the ones whose coefficients agree best in one of the 14 orientations. The pair is aligned in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from nearkin.duplicates.registration import ORIENTATIONS, PairTable, gray
from nearkin.search.exact import knn
from nearkin.vectors import sample_rows

TURNED = tuple(range(2, len(ORIENTATIONS)))  # all but upright and mirrored
_FREQUENCIES = 6  # per axis: higher ones of a cropped copy agree with nothing
_NEAREST, _SHORTLIST = 2, 10  # candidates per image; neighbours among which they are chosen
_BEYOND = 40_000  # pairs beyond the nearest that are kept, at most
_CHUNK = 4096


@dataclass(frozen=True)
class TurnedPairs(PairTable):
    """P pairs of images.

    Attributes:
        a, b: int64 (P,), rows of the queries and of the base. orientation: int64 (P,), in which b is like a, a place in
            ``ORIENTATIONS``. agreement: float64 (P,), cosine of the coefficients in it, in [-1, 1].
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    orientation: NDArray[np.int64]
    agreement: NDArray[np.float64]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Both rows, int64 (P, 2)."""
        return np.stack([self.a, self.b], axis=1)


class Frequencies:
    """Low frequencies of a set of images, uint8 (N, C, H, W), in which turned copies are looked for."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._scale = np.ones((_FREQUENCIES, _FREQUENCIES))
        raw = self._transformed(images)
        # Between white (noise weighs as much as light and dark) and as they are (light and dark decide alone). The same
        # for rows and columns, or a quarter turn would change the coefficients.
        power = np.square(raw).mean(axis=0) if len(raw) else np.ones_like(self._scale)
        self._scale = np.maximum((power + power.T) / 2, 1e-6) ** 0.25
        self.coefficients = _unit(raw / self._scale)
        invariants = _invariants(self.coefficients)
        self._mean = invariants.mean(axis=0) if len(raw) else np.zeros(invariants.shape[1])
        self._spread = invariants.std(axis=0) + 1e-6 if len(raw) else np.ones(invariants.shape[1])
        self.invariants = self._standardised(invariants)

    def candidates(self, images: NDArray[np.uint8] | None, seed: int) -> tuple[TurnedPairs, TurnedPairs]:
        """For each of ``images`` (None: the set's own), its likeliest turned copies in the set.

        Returns:
            near: the 2 best of each; within the set each unordered pair once, a < b. beyond: at most 40,000 pairs of the
            next 8, drawn by image, that are not in ``near``.
        """
        within = images is None
        own = self.coefficients if images is None else self.coefficients_of(images)
        query = self.invariants if images is None else self._standardised(_invariants(own))
        n, most = len(self.coefficients), len(self.coefficients) - int(within)
        if not len(own) or most < 1:
            none = np.zeros(0, dtype=np.int64)
            empty = TurnedPairs(none, none, none, np.zeros(0))
            return empty, empty
        k = min(_NEAREST, most)
        listed = knn(query, self.invariants, min(_SHORTLIST, most), metric="l2", exclude_self=within).indices
        a = np.repeat(np.arange(len(own)), listed.shape[1])
        orientation, agreement = self.best_orientation(own, a, listed.ravel())
        agreement = agreement.reshape(listed.shape)
        order = np.argsort(-agreement, axis=1, kind="stable")

        def pairs(rows: NDArray[np.int64], ranks: slice) -> TurnedPairs:
            at = (rows[:, None] * listed.shape[1] + order[rows, ranks]).ravel()
            return TurnedPairs(a[at], listed.ravel()[at], orientation[at], agreement.ravel()[at])

        drawn = sample_rows(len(own), _BEYOND // _SHORTLIST, seed)
        near, beyond = pairs(np.arange(len(own)), slice(0, k)), pairs(drawn, slice(k, None))
        if within:
            near, beyond = _unordered(near, n), _unordered(beyond, n)
            beyond = beyond[~np.isin(beyond.a * n + beyond.b, near.a * n + near.b)]
        return near, beyond

    def coefficients_of(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Scaled coefficients of length 1, float64 (M, 6, 6); 0 for an image of one color."""
        return _unit(self._transformed(images) / self._scale)

    def best_orientation(
        self, own: NDArray[np.float64], a: NDArray[np.int64], b: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The orientation in which the set's image ``b`` is most like ``own[a]``, and the cosine in it; each (P,)."""
        orientation, agreement = np.zeros(len(a), dtype=np.int64), np.zeros(len(a))
        for start in range(0, len(a), _CHUNK):
            part = slice(start, start + _CHUNK)
            first, second = own[a[part]], self.coefficients[b[part]]
            values = np.stack([np.einsum("pij,pij->p", first, _turned(second, o)) for o in TURNED])
            orientation[part], agreement[part] = np.array(TURNED)[values.argmax(axis=0)], values.max(axis=0)
        return orientation, agreement

    @staticmethod
    def _transformed(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        out = np.zeros((len(images), _FREQUENCIES, _FREQUENCIES))
        for start in range(0, len(images), _CHUNK):
            spectrum = dctn(gray(images[start : start + _CHUNK]).astype(np.float64), axes=(1, 2), norm="ortho")
            out[start : start + _CHUNK] = spectrum[:, :_FREQUENCIES, :_FREQUENCIES]
        out[:, 0, 0] = 0  # brightness
        return out

    def _standardised(self, invariants: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray((invariants - self._mean) / self._spread, dtype=np.float32)


def _turned(coefficients: NDArray[np.float64], orientation: int) -> NDArray[np.float64]:
    """Coefficients (..., F, F) of images in an orientation, as :func:`nearkin.duplicates.registration.turn` does it to the images."""
    sign = (-1.0) ** np.arange(coefficients.shape[-1])
    if orientation & 1:
        coefficients = coefficients * sign
    if orientation & 2:
        coefficients = coefficients * sign[:, None]
    if orientation & 4:
        coefficients = np.swapaxes(coefficients, -1, -2)
    return -coefficients if orientation & 8 else coefficients


def _invariants(c: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features (N, V) of coefficients (N, F, F) that are the same in all 16 orientations.

    Sums and differences of squares, which know no sign and no swap of u and v; and products of two coefficients whose
    frequencies differ by even numbers: both change sign together, and are added to their swapped twins.
    """
    upper = np.triu_indices(c.shape[1])
    squares = np.square(c)
    swapped = np.swapaxes(squares, 1, 2)
    parts = [np.sqrt((squares + swapped) / 2)[:, *upper], np.sqrt(np.abs(squares - swapped))[:, *upper]]
    for du, dv in ((2, 0), (2, 2), (4, 0)):
        both = [x[:, du:, dv:] * x[:, : x.shape[1] - du, : x.shape[2] - dv] for x in (c, np.swapaxes(c, 1, 2))]
        product = (both[0] + both[1]).reshape(len(c), both[0].shape[1] * both[0].shape[2])
        parts.append(np.sign(product) * np.sqrt(np.abs(product)))
    return np.concatenate(parts, axis=1)


def _unit(c: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(c / np.maximum(np.linalg.norm(c, axis=(1, 2), keepdims=True), 1e-3))


def _unordered(pairs: TurnedPairs, n: int) -> TurnedPairs:
    """Each pair once with a < b, in the orientation that agrees better; sorted."""
    swap = pairs.a > pairs.b
    # The inverse of mirroring and turning upside down, then swapping, is to do the other of the two, then swap.
    other = (pairs.orientation & ~3) | (pairs.orientation & 1) << 1 | (pairs.orientation & 2) >> 1
    orientation = np.where(swap & (pairs.orientation & 4 > 0), other, pairs.orientation)
    low, high = np.minimum(pairs.a, pairs.b), np.maximum(pairs.a, pairs.b)
    order = np.lexsort((-pairs.agreement, low * n + high))
    _, first = np.unique((low * n + high)[order], return_index=True)
    return TurnedPairs(low, high, orientation, pairs.agreement)[order[first]]
