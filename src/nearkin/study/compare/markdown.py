"""A comparison as Markdown."""

from __future__ import annotations

from nearkin.format import three_digits
from nearkin.study.compare.differences import Difference, Report, shown_p
from nearkin.study.compare.sides import METRICS, PLAIN


def cells(d: Difference) -> list[str]:
    """metric, reference, other, difference with its interval, corrected p, how or why not."""
    if d.metric in PLAIN:
        reference, other, size = three_digits(d.reference), three_digits(d.other), three_digits(d.difference, "+")
        ends = (
            "" if d.interval is None else f" [{three_digits(d.interval[0], '+')}, {three_digits(d.interval[1], '+')}]"
        )
    else:
        reference, other, size = f"{100 * d.reference:.2f}", f"{100 * d.other:.2f}", f"{100 * d.difference:+.2f}"
        ends = "" if d.interval is None else f" [{100 * d.interval[0]:+.2f}, {100 * d.interval[1]:+.2f}]"
    how = d.test + (", significant" if d.significant else ", not significant") if d.p is not None else ""
    title = METRICS[d.metric][0] + ("" if d.metric in PLAIN else ", %")
    return [
        title,
        reference,
        other,
        (size + ends).replace("-", "−"),
        shown_p(d.p_holm),
        how or f"cannot be told: {d.why_not}",
    ]


def to_markdown(report: Report) -> str:
    """The report's sentences, a table per comparison, and the notes."""
    lines = ["# Comparison", ""]
    lines += [f"- {_safe(comparison.sentence)}" for comparison in report.comparisons]
    for comparison in report.comparisons:
        lines += ["", f"## {_safe(comparison.other)} against {_safe(comparison.reference)}", ""]
        if comparison.seeds:
            lines += [f"Seeds: {', '.join(map(str, comparison.seeds))}.", ""]
        lines += [
            f"| metric | {_safe(comparison.reference)} | {_safe(comparison.other)} | difference | p, corrected | |"
        ]
        lines += ["|---|---|---|---|---|---|"]
        lines += [f"| {' | '.join(_safe(cell) for cell in cells(d))} |" for d in comparison.differences]
    lines += ["", *report.notes, ""]
    return "\n".join(lines)


def _safe(text: str) -> str:
    """A text that neither breaks a table nor becomes HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")
