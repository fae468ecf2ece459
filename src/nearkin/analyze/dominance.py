"""What neighbours agree in most, alone and against raw pixels, as numbers and in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nearkin.analyze.agreement import Agreement, FactorAgreement, one_minus_ratio, stacked
from nearkin.analyze.bootstrap import RESAMPLES, Interval, percentiles, resampled_sums
from nearkin.analyze.factors import GROUPS, OTHER
from nearkin.errors import DataError


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


def differences(
    found: FactorAgreement, baseline: FactorAgreement, *, resamples: int = RESAMPLES
) -> tuple[Difference, ...]:
    """Agreement of an embedding minus that of another embedding of the same images, per factor that both have.

    Raises:
        DataError: other numbers of images or other k.
    """
    if (found.n, found.k) != (baseline.n, baseline.k):
        raise DataError(
            f"agreement can only be compared on the same images and k; got {found.n} images, k = {found.k}, and "
            f"{baseline.n} images, k = {baseline.k}."
        )
    theirs = {row.factor: row for row in baseline.rows}
    both = [
        (row, theirs[row.factor])
        for row in found.rows
        if row.value is not None and row.factor in theirs and theirs[row.factor].value is not None
    ]
    if not both:
        return ()
    columns = stacked([(item.near, item.random) for pair in both for item in pair])
    samples = one_minus_ratio(resampled_sums(columns, seed=found.seed, resamples=resamples))
    return tuple(
        Difference(
            a.factor,
            a.group,
            float(a.value or 0) - float(b.value or 0),
            percentiles(samples[:, 2 * i] - samples[:, 2 * i + 1]),
        )
        for i, (a, b) in enumerate(both)
    )


def leading(rows: Sequence[Agreement]) -> dict[str, Agreement]:
    """The factor that neighbours agree in most, of each group (class, background, colour, position), strongest first."""
    out: dict[str, Agreement] = {}
    for group in GROUPS:
        members = [row for row in rows if row.group == group and row.value is not None]
        if members and group != OTHER:
            out[group] = max(members, key=lambda row: float(row.value or 0))
    return dict(sorted(out.items(), key=lambda item: -float(item[1].value or 0)))


def statement(found: FactorAgreement, baseline: FactorAgreement | None = None, *, name: str = "raw pixels") -> str:
    """Which of class, background, colour and position dominates among neighbours, and against a baseline's.

    Each group is represented by the factor that its neighbours agree in most, in this embedding.
    """
    lead = leading(found.rows)
    if not lead:
        return "No two images differ in any factor: nothing can be said about what neighbours agree in."
    first = next(iter(lead))
    parts = [f"{_label(group, row)} {row.value:.2f}{_range(row.interval)}" for group, row in lead.items()]
    text = f"Neighbours agree most in {first}: {', '.join(parts)} (0: as random images, 1: the same)."
    beyond = [
        f"{_label(group, row)} {row.given_class:.2f}" for group, row in lead.items() if row.given_class is not None
    ]
    if beyond:
        text += f" Beyond what the neighbours' classes bring: {', '.join(beyond)}."
    if baseline is None:
        return text
    by = {item.factor: item for item in differences(found, baseline)}
    rows = sorted(
        ((group, row, by[row.factor]) for group, row in lead.items() if row.factor in by),
        key=lambda item: -item[2].value,
    )
    if rows:
        changes = [f"{_label(group, row)} {item.value:+.2f}{_range(item.interval)}" for group, row, item in rows]
        group, _, top = rows[0]
        sure = top.interval is not None and top.interval[0] > 0
        head = (
            f"Against {name} they gain most in {group}" if sure else f"Against {name} they gain in nothing for certain"
        )
        text += f" {head}: {', '.join(changes)}."
    return text


def _label(group: str, row: Agreement) -> str:
    return group if row.factor == group else f"{group} ({row.factor.replace('_', ' ')})"


def _range(interval: Interval | None) -> str:
    return "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
