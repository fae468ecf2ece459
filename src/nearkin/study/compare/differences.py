"""Differences of sides against the first one, with what can honestly be said about each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from nearkin.evaluate.stats import bootstrap_difference, holm, mcnemar, paired_t, t_interval
from nearkin.format import three_digits
from nearkin.runs.run import FinishedRun
from nearkin.study.compare.per_image import PROBES, CannotTell, Images
from nearkin.study.compare.sides import METRICS, PLAIN, Side, measured

LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """One number of two sides.

    Attributes:
        metric: key of METRICS. reference, other: means over the runs that were used; difference: other - reference.
        interval: 95 %, of the difference. p: two-sided, uncorrected; p_holm: corrected for all tests of the report.
        test: how interval and p were obtained; why_not: why they could not be, when p is None.
    """

    metric: str
    reference: float
    other: float
    difference: float
    interval: tuple[float, float] | None = None
    p: float | None = None
    p_holm: float | None = None
    test: str = ""
    why_not: str = ""

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 0.05."""
        return self.p_holm is not None and self.p_holm < LEVEL


@dataclass(frozen=True)
class Comparison:
    """All differences of one side against the reference, and the sentence that may be said."""

    reference: str
    other: str
    seeds: tuple[int, ...]
    differences: tuple[Difference, ...]
    sentence: str = ""


@dataclass(frozen=True)
class Report:
    """Attributes:
    comparisons: one per side but the first. tests: how many p values Holm's correction counted. notes: for the reader.
    """

    comparisons: tuple[Comparison, ...]
    tests: int
    notes: tuple[str, ...] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def compare(sides: Sequence[Side], *, say: Callable[[str], None] = lambda text: None) -> Report:
    """Compare every side with the first one.

    With two or more shared seeds: Student's paired t over seeds. With one pair of runs: McNemar's exact test and a
    paired bootstrap over the test images, the probes made again from the stored vectors. Otherwise nothing is claimed.

    Args:
        say: told what is being computed.
    """
    images = Images(say)
    raw = [_compare(sides[0], side, images) for side in sides[1:]]
    tested = [d.p for comparison in raw for d in comparison.differences if d.p is not None]
    corrected = iter(holm(tested))
    out = []
    for comparison in raw:
        differences = tuple(d if d.p is None else replace(d, p_holm=next(corrected)) for d in comparison.differences)
        done = replace(comparison, differences=differences)
        out.append(replace(done, sentence=_sentence(done, len(tested))))
    notes: tuple[str, ...] = (
        f"Differences are against {sides[0].name}. {len(tested)} tests were made; p values are corrected for all of them "
        f"(Holm 1979), and a difference is called significant where the corrected one is below {LEVEL}.",
        "Intervals are 95 % for each difference alone, not corrected.",
    )
    if any("McNemar" in d.test for comparison in out for d in comparison.differences):
        text = "A test over images of one run each covers the choice of test images, not the luck of training."
        notes = (*notes, text)
    return Report(tuple(out), len(tested), notes)


def _compare(reference: Side, other: Side, images: Images) -> Comparison:
    pairs, seeds, why_not = _pairs(reference, other)
    if not why_not:
        why_not = _unlike(pairs, images)
    single = len(pairs) == 1 and not why_not
    if single:  # side by side, because only one file of vectors is kept in memory
        for run in pairs[0]:
            for probe in PROBES:
                _try(images, run, probe)
    differences = []
    for metric in METRICS:
        values = [(measured(a, metric), measured(b, metric)) for a, b in pairs]
        known = [(a, b) for a, b in values if a is not None and b is not None]
        if not known or len(known) != len(values):
            continue
        found = _difference(metric, known)
        if why_not:
            found = replace(found, why_not=why_not)
        elif not single:
            found = _over_seeds(found, known)
        else:
            found = _over_images(found, pairs[0], images)
        differences.append(found)
    return Comparison(reference.name, other.name, seeds, tuple(differences))


def _pairs(reference: Side, other: Side) -> tuple[list[tuple[FinishedRun, FinishedRun]], tuple[int, ...], str]:
    """Pairs of runs, their seeds, and why they cannot be paired (then every run of the smaller side is used once)."""
    if reference.seeded and other.seeded:
        seeds = sorted(set(reference.runs) & set(other.runs))
    else:
        seeds = sorted(other.runs if other.seeded else reference.runs)
    if seeds:
        return [(reference.run(seed), other.run(seed)) for seed in seeds], tuple(seeds), ""
    pairs = list(zip(reference.runs.values(), other.runs.values(), strict=False))
    if len(reference.runs) == len(other.runs) == 1:
        return pairs, (), ""
    return pairs, (), "several seeds, none of them shared"


def _unlike(pairs: Sequence[tuple[FinishedRun, FinishedRun]], images: Images) -> str:
    """Why two sides must not be compared; empty if their test images are the same."""
    try:
        for a, b in pairs:
            if images.test_set(a) != images.test_set(b):
                return "not the same test images or labels"
    except CannotTell as reason:
        return f"{reason}, so that the test images are unknown"
    return ""


def _difference(metric: str, values: Sequence[tuple[float, float]]) -> Difference:
    a, b = (float(np.mean(column)) for column in zip(*values, strict=True))
    return Difference(metric, a, b, b - a)


def _over_seeds(found: Difference, values: Sequence[tuple[float, float]]) -> Difference:
    differences = [b - a for a, b in values]
    p = paired_t(differences)
    if p is None:
        return replace(found, why_not="the same difference in every seed leaves no spread to judge by")
    return replace(found, interval=t_interval(differences), p=p, test=f"paired t over {len(values)} seeds")


def _over_images(found: Difference, pair: tuple[FinishedRun, FinishedRun], images: Images) -> Difference:
    if found.metric not in PROBES:
        return replace(found, why_not="one pair of runs, and no result per image")
    try:
        a, b = (images.right(run, found.metric) for run in pair)
    except CannotTell as reason:
        return replace(found, why_not=str(reason))
    test = f"McNemar's exact test over {len(a):,} test images"
    return replace(found, interval=bootstrap_difference(b, a), p=mcnemar(b, a), test=test)


def _try(images: Images, run: FinishedRun, probe: str) -> None:
    """Make a probe's results while the run's vectors are in memory; what fails is told when it is asked for."""
    if measured(run, probe) is not None:
        try:
            images.right(run, probe)
        except CannotTell:
            return


def _sentence(comparison: Comparison, tests: int) -> str:
    """What may be said, on the linear probe where there is one."""
    names = f"{comparison.other} against {comparison.reference}"
    if not comparison.differences:
        return f"{names}: no number that both have, so nothing can be said."
    first = comparison.differences[0]
    title, accuracy = METRICS[first.metric][0], first.metric not in PLAIN
    size = f"{100 * first.difference:+.1f} points" if accuracy else three_digits(first.difference, "+")
    said = f"{names}: {title} {size.replace('-', '−')}"
    if first.p is None:
        return f"{said}; whether that is more than chance cannot be told: {first.why_not}."
    low, high = first.interval or (first.difference, first.difference)
    scale = 100 if accuracy else 1
    said += f" [{scale * low:+.1f}, {scale * high:+.1f}]".replace("-", "−")
    verdict = "significant" if first.significant else "not significant"
    many = f" after Holm's correction for {tests} tests" if tests > 1 else ""
    said += f", {verdict}{many} (p {shown_p(first.p_holm)}, {first.test})"
    return said + ("; one training run each, so another seed may say otherwise." if "McNemar" in first.test else ".")


def shown_p(p: float | None) -> str:
    """A p value for people."""
    return "-" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"
