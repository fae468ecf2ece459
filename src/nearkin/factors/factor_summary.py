"""What neighbours agree in most, alone and against raw pixels, as numbers and in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError
from nearkin.evaluate.stats import RESAMPLES, Interval, percentiles, resampled_sums
from nearkin.factors.agreement import Agreement, FactorAgreement, one_minus_ratio, stacked
from nearkin.factors.factors import BACKGROUND, CLASS, GROUPS, OTHER


@dataclass(frozen=True)
class Difference:
    """One factor's agreement minus the baseline's, on the same images. interval: paired bootstrap over images."""

    factor: str
    group: str
    value: float
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"interval": list(self.interval) if self.interval else None}


@dataclass(frozen=True)
class Dominance:
    """Which of class, background, colour and position neighbours agree in most.

    Attributes:
        leading: the factor of each group that neighbours agree in most, the strongest group first.
        dominant: the first of them where it is surely ahead of the second (95 % of paired resamples), else None.
        differences: every factor against the baseline, largest gain first; empty without one.
        gains: the group (by its leading factor) that gains most against the baseline, where that is surely above 0.
        text: all that in sentences.
    """

    leading: dict[str, Agreement]
    dominant: str | None
    differences: tuple[Difference, ...]
    gains: str | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "leading": {group: row.factor for group, row in self.leading.items()},
            "dominant": self.dominant,
            "differences": [item.to_dict() for item in self.differences],
            "gains": self.gains,
            "text": self.text,
        }


def differences(
    found: FactorAgreement, baseline: FactorAgreement, *, resamples: int = RESAMPLES
) -> tuple[Difference, ...]:
    """Agreement of an embedding minus that of another embedding of the same images, per factor that both have.

    The largest gain comes first.

    Raises:
        DataError: other numbers of images or other k.
    """
    if (found.n, found.k) != (baseline.n, baseline.k):
        raise DataError(
            f"agreement can only be compared on the same images and k; got {found.n} images, k = {found.k}, and "
            f"{baseline.n} images, k = {baseline.k}."
        )
    theirs = {row.factor: row for row in baseline.rows}
    both = [(row, theirs[row.factor]) for row in found.rows if row.factor in theirs]
    out = []
    for a, b in both:
        if a.value is not None and b.value is not None:
            interval = _paired(a, b, found.seed, resamples)
            out.append(Difference(a.factor, a.group, a.value - b.value, interval))
    return tuple(sorted(out, key=lambda item: -item.value))


def _paired(a: Agreement, b: Agreement, seed: int, resamples: int) -> Interval | None:
    """Interval of a's agreement minus b's, over the same resampled images."""
    columns = stacked([(a.near, a.random), (b.near, b.random)])
    samples = one_minus_ratio(resampled_sums(columns, seed=seed, resamples=resamples))
    return percentiles(samples[:, 0] - samples[:, 1])


def leading(rows: Sequence[Agreement]) -> dict[str, Agreement]:
    """The factor of each group that neighbours agree in most, the strongest group first; "other" is left out."""
    out: dict[str, Agreement] = {}
    for group in GROUPS:
        members = [(row.value, row) for row in rows if row.group == group and row.value is not None]
        if members and group != OTHER:
            out[group] = max(members, key=lambda item: item[0])[1]
    return dict(sorted(out.items(), key=lambda item: -(item[1].value or 0.0)))


def dominance(
    found: FactorAgreement,
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
    lead = leading(found.rows)
    if not lead:
        text = "No two images differ in any factor: nothing can be said about what neighbours agree in."
        return Dominance({}, None, (), None, text)
    groups, rows = list(lead), list(lead.values())
    first = rows[0].value is not None and rows[0].interval is not None and rows[0].interval[0] > 0
    ahead = None if len(rows) < 2 else _paired(rows[0], rows[1], found.seed, resamples)
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
        return Dominance(lead, dominant, (), None, text)
    every = differences(found, baseline, resamples=resamples)
    shown = [item for item in every if any(item.factor == row.factor for row in rows)]
    gains = shown[0].group if shown and shown[0].interval is not None and shown[0].interval[0] > 0 else None
    if shown:
        changes = ", ".join(
            f"{item.factor.replace('_', ' ')} {item.value:+.2f}{_range(item.interval)}" for item in shown
        )
        text += f" Against {name} they gain {f'most in {gains}' if gains else 'in nothing for certain'}: {changes}."
    return Dominance(lead, dominant, every, gains, text)


def telling_rows(found: FactorAgreement, *, n: int = 8) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images that show the conflict of class and background, int64, at most ``n`` each; none without labels.

    First those with neighbours of other classes (at least four fifths) on the most similar backgrounds, then those with
    neighbours of their own class (at least four fifths) on the most different backgrounds.
    """
    lead = leading(found.rows)
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
