"""Are neighbours alike in class or in something else? Agreement in each factor beyond chance, and which factor dominates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError
from nearkin.evaluate.stats import BOOTSTRAP, RESAMPLES, Interval, percentiles, resampled_sums
from nearkin.factors.factors import BACKGROUND, CLASS, GROUPS, OTHER, Factor, class_factor
from nearkin.fileio import LEFT_OUT, named
from nearkin.search.exact import Neighbors

_PARTNERS = 200  # random other images that each image is compared with (all others in a smaller set)
_DRAWS = 5  # random images of the neighbour's class, per neighbour
_CHUNK = 4096


@dataclass(frozen=True)
class Agreement:
    """How far neighbours agree in one factor.

    ``value`` = 1 - (mean disagreement with neighbours) / (mean disagreement with random other images): 0 for random
    neighbours, 1 for neighbours that are the same in this factor, below 0 for neighbours that differ more than random
    images. Disagreement is 0 or 1 between categories, so that for a category this is (purity - chance) / (1 - chance);
    for numbers it is the L2 distance. Categories and numbers thus share a meaning, not a scale: to weigh one factor
    against another, compare each with what raw pixels give.

    Attributes:
        factor, group, categorical: of the factor. n: images that have it.
        value, interval: as above; None where no two images differ, so that nothing can agree.
        given_class, given_class_interval: the same with random images *of the neighbour's class* in the place of random
            images: agreement beyond what the classes bring (aeroplanes have blue backgrounds). None for the class
            itself, without labels, or where all images of a class are the same.
        near, random: float64 (N,), each image's two disagreements, NaN where it does not have the factor; left out of JSON.
    """

    factor: str
    group: str
    categorical: bool
    n: int
    value: float | None
    interval: Interval | None
    given_class: float | None
    given_class_interval: Interval | None
    near: NDArray[np.float64] = field(metadata=LEFT_OUT)
    random: NDArray[np.float64] = field(metadata=LEFT_OUT)


@dataclass(frozen=True)
class FactorAgreement:
    """Agreement in every factor.

    Attributes:
        n: images. k: neighbours. seed: of the random images and the bootstrap.
        rows: one per factor, the class first where it is known. interval: what their intervals are.
    """

    n: int
    k: int
    seed: int
    rows: tuple[Agreement, ...] = field(metadata=named("factors"))
    interval: str = BOOTSTRAP


@dataclass(frozen=True)
class AgreementGain:
    """One factor's agreement minus the baseline's, on the same images. interval: paired bootstrap over images."""

    factor: str
    group: str
    value: float
    interval: Interval | None


@dataclass(frozen=True)
class Dominance:
    """Which of class, background, colour and position neighbours agree in most.

    Attributes:
        leading: by group, the factor that neighbours agree in most, the strongest group first.
        dominant: the first group where it is surely ahead of the second (95 % of paired resamples), else None.
        differences: every factor against the baseline, largest gain first; empty without one.
        gains: the group (by its leading factor) that gains most against the baseline, where that is surely above 0.
        text: all that in sentences.
    """

    leading: dict[str, str]
    dominant: str | None
    differences: tuple[AgreementGain, ...]
    gains: str | None
    text: str


def neighbor_agreement(
    neighbors: Neighbors,
    labels: NDArray[np.int64] | None,
    factors: Sequence[Factor],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> FactorAgreement:
    """Measure how far the k nearest neighbours agree in the class and in each factor.

    Intervals resample images, each with its list of neighbours as it is: they say how sure the mean over images is,
    not what another set of images would give.

    Args:
        neighbors: of N images among themselves, self left out, (N, k).
        labels: int64 (N,), -1 for unknown; None without labels.
        factors: each with N values.
    Raises:
        DataError: fewer than 2 images, or a factor of another length.
    """
    n, k = neighbors.indices.shape
    if n < 2:
        raise DataError(f"agreement of neighbours needs at least 2 images; got {n}.")
    known = labels if labels is not None and bool((labels >= 0).any()) else None
    every = ([] if known is None else [class_factor(known)]) + list(factors)
    for factor in every:
        if len(factor.values) != n:
            raise DataError(f"factor '{factor.name}' has {len(factor.values)} values for {n} images.")
    rng = np.random.default_rng(seed)
    partners = _partners(n, rng)
    mates = None if known is None else _mates(known[neighbors.indices], known, rng)
    pairs = []
    for factor in every:
        near = _disagreement(factor, neighbors.indices)
        random = _chance(factor.values) if factor.categorical else _disagreement(factor, partners)
        pairs.append((near, random))
        nothing = np.full(n, np.nan)
        if mates is None or factor.group == CLASS:
            pairs.append((nothing, nothing))
        else:
            usable: NDArray[np.bool_] = np.asarray(mates >= 0)
            pairs.append(
                (
                    _disagreement(factor, neighbors.indices, np.asarray(usable.reshape(n, k, _DRAWS).any(axis=2))),
                    _disagreement(factor, np.maximum(mates, 0), usable),
                )
            )
    ratios = ratios_with_intervals(pairs, seed=seed, resamples=resamples)
    rows = [
        Agreement(
            factor=factor.name,
            group=factor.group,
            categorical=factor.categorical,
            n=int(np.isfinite(pairs[2 * i][0]).sum()),
            value=ratios[2 * i][0],
            interval=ratios[2 * i][1],
            given_class=ratios[2 * i + 1][0],
            given_class_interval=ratios[2 * i + 1][1],
            near=pairs[2 * i][0],
            random=pairs[2 * i][1],
        )
        for i, factor in enumerate(every)
    ]
    return FactorAgreement(n, k, seed, tuple(rows))


def _stacked(pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Pairs (near, random) as columns (N, 2 * pairs), 0 for images that lack either."""
    columns = []
    for near, random in pairs:
        both = np.isfinite(near) & np.isfinite(random)
        columns += [np.where(both, near, 0), np.where(both, random, 0)]
    return np.stack(columns, axis=1)


def ratios_with_intervals(
    pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], *, seed: int, resamples: int
) -> list[tuple[float | None, Interval | None]]:
    """1 - sum(near) / sum(random) of each pair, with its interval; None where nothing differs at random."""
    columns = _stacked(pairs)
    samples = _one_minus_ratio(resampled_sums(columns, seed=seed, resamples=resamples))
    values = _one_minus_ratio(columns.sum(axis=0)[None])[0]
    return [
        (float(value), percentiles(samples[:, i])) if np.isfinite(value) else (None, None)
        for i, value in enumerate(values)
    ]


def _one_minus_ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums (B, 2 * pairs) as :func:`_stacked` orders them -> float64 (B, pairs), NaN where the second is 0."""
    near, random = sums[:, 0::2], sums[:, 1::2]
    some = random > 1e-9
    out: NDArray[np.float64] = np.where(some, 1 - near / np.where(some, random, 1), np.nan)
    return out


def _partners(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Random other images of each image, int64 (N, min(N - 1, 200)).

    By shifts along a random order: never the image itself, none twice, each image a partner equally often.
    """
    order = rng.permutation(n)
    shifts = rng.permutation(np.arange(1, n))[:_PARTNERS]
    out: NDArray[np.int64] = order[(np.argsort(order)[:, None] + shifts) % n]
    return out


def _mates(near: NDArray[np.int64], labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each neighbour, of class ``near`` (N, k), a few random images of its class -> int64 (N, k * draws).

    -1 where the class is unknown or the draw hit the image itself.
    """
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels[labels >= 0])
    first = np.searchsorted(labels[order], np.arange(len(counts)))
    classes = np.repeat(near, _DRAWS, axis=1)
    inside = np.maximum(classes, 0)
    draw = first[inside] + (rng.random(inside.shape) * counts[inside]).astype(np.int64)
    mates: NDArray[np.int64] = order[draw.clip(max=len(order) - 1)]
    mates[(classes < 0) | (mates == np.arange(len(labels))[:, None])] = -1
    return mates


def _disagreement(
    factor: Factor, others: NDArray[np.int64], usable: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Mean disagreement of each image with its ``others`` (N, M), where ``usable``; NaN where there are none."""
    values = factor.values
    out = np.full(len(values), np.nan)
    for start in range(0, len(values), _CHUNK):
        rows = slice(start, start + _CHUNK)
        theirs, own = values[others[rows]], values[rows][:, None]
        counts = np.ones(theirs.shape[:2], dtype=bool) if usable is None else usable[rows]
        if factor.categorical:
            counts = counts & (theirs >= 0) & (own >= 0)
            differ = (theirs != own).astype(np.float64)
        else:
            differ = np.linalg.norm((theirs - own).astype(np.float64), axis=2)
        total = counts.sum(axis=1)
        mean = np.where(counts, differ, 0).sum(axis=1) / np.maximum(total, 1)
        out[rows] = np.where(total > 0, mean, np.nan)
    return out


def _chance(categories: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact share of the other images, of known category, that are of another category than each image's own."""
    known = categories >= 0
    out = np.full(len(categories), np.nan)
    if known.sum() > 1:
        same = np.bincount(categories[known])[categories[known]] - 1
        out[known] = 1 - same / (known.sum() - 1)
    return out


def differences(
    agreement: FactorAgreement, baseline: FactorAgreement, *, resamples: int = RESAMPLES
) -> tuple[AgreementGain, ...]:
    """Agreement of an embedding minus that of another embedding of the same images, per factor that both have.

    The largest gain comes first.

    Raises:
        DataError: other numbers of images or other k.
    """
    if (agreement.n, agreement.k) != (baseline.n, baseline.k):
        raise DataError(
            f"agreement can only be compared on the same images and k; got {agreement.n} images, k = {agreement.k}, and "
            f"{baseline.n} images, k = {baseline.k}."
        )
    theirs = {row.factor: row for row in baseline.rows}
    both = [(row, theirs[row.factor]) for row in agreement.rows if row.factor in theirs]
    out = []
    for a, b in both:
        if a.value is not None and b.value is not None:
            interval = _paired(a, b, agreement.seed, resamples)
            out.append(AgreementGain(a.factor, a.group, a.value - b.value, interval))
    return tuple(sorted(out, key=lambda item: -item.value))


def _paired(a: Agreement, b: Agreement, seed: int, resamples: int) -> Interval | None:
    """Interval of a's agreement minus b's, over the same resampled images."""
    columns = _stacked([(a.near, a.random), (b.near, b.random)])
    samples = _one_minus_ratio(resampled_sums(columns, seed=seed, resamples=resamples))
    return percentiles(samples[:, 0] - samples[:, 1])


def _leading(rows: Sequence[Agreement]) -> dict[str, Agreement]:
    """The factor of each group that neighbours agree in most, the strongest group first; "other" is left out."""
    out: dict[str, Agreement] = {}
    for group in GROUPS:
        members = [(row.value, row) for row in rows if row.group == group and row.value is not None]
        if members and group != OTHER:
            out[group] = max(members, key=lambda item: item[0])[1]
    return dict(sorted(out.items(), key=lambda item: -(item[1].value or 0.0)))


def dominance(
    agreement: FactorAgreement,
    baseline: FactorAgreement | None = None,
    *,
    name: str = "raw pixels",
    resamples: int = RESAMPLES,
) -> Dominance:
    """Say which of class, background, colour and position dominates among neighbours, and against a baseline's.

    A group that surely leads may still do so because its factor is measured on a kinder scale: what an embedding adds is
    the difference from the baseline, factor by factor.

    Raises:
        DataError: the baseline is of other images or another k.
    """
    lead = _leading(agreement.rows)
    if not lead:
        text = "No two images differ in any factor: nothing can be said about what neighbours agree in."
        return Dominance({}, None, (), None, text)
    groups, rows = list(lead), list(lead.values())
    factors = {group: row.factor for group, row in lead.items()}
    first = rows[0].value is not None and rows[0].interval is not None and rows[0].interval[0] > 0
    ahead = None if len(rows) < 2 else _paired(rows[0], rows[1], agreement.seed, resamples)
    sure = first and (len(rows) < 2 or (ahead is not None and ahead[0] > 0))
    dominant = groups[0] if sure else None
    listed = ", ".join(f"{_label(row)} {row.value:.2f}{_range(row.interval)}" for row in rows)
    if dominant:
        head = f"Neighbours agree most in {dominant}"
    else:
        head = (
            f"{groups[0].capitalize()} and {groups[1]} are too close to call"
            if first
            else "Neighbours agree in nothing"
        )
    text = f"{head}: {listed} (0: like random images, 1: the same)."
    beyond = [f"{_label(row)} {row.given_class:.2f}" for row in rows if row.given_class is not None]
    if beyond:
        text += f" Beyond what the neighbours' classes bring: {', '.join(beyond)}."
    if baseline is None:
        return Dominance(factors, dominant, (), None, text)
    every = differences(agreement, baseline, resamples=resamples)
    shown = [item for item in every if any(item.factor == row.factor for row in rows)]
    gains = shown[0].group if shown and shown[0].interval is not None and shown[0].interval[0] > 0 else None
    if shown:
        changes = ", ".join(
            f"{item.factor.replace('_', ' ')} {item.value:+.2f}{_range(item.interval)}" for item in shown
        )
        text += f" Against {name} they gain {f'most in {gains}' if gains else 'in nothing for certain'}: {changes}."
    return Dominance(factors, dominant, every, gains, text)


def telling_rows(agreement: FactorAgreement, *, n: int = 8) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images that show the conflict of class and background, int64, at most ``n`` each; none without labels.

    First those with neighbours of other classes (at least four fifths) on the most similar backgrounds, then those with
    neighbours of their own class (at least four fifths) on the most different backgrounds.
    """
    lead = _leading(agreement.rows)
    none = np.zeros(0, dtype=np.int64)
    if CLASS not in lead or BACKGROUND not in lead:
        return none, none
    other, background = lead[CLASS].near, lead[BACKGROUND].near
    usable = np.isfinite(other) & np.isfinite(background)
    wrong, right = np.flatnonzero(usable & (other >= 0.8)), np.flatnonzero(usable & (other <= 0.2))
    return (
        wrong[np.argsort(background[wrong], kind="stable")[:n]],
        right[np.argsort(-background[right], kind="stable")[:n]],
    )


def _label(row: Agreement) -> str:
    return row.group if row.factor == row.group else f"{row.group} ({row.factor.replace('_', ' ')})"


def _range(interval: Interval | None) -> str:
    return "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
