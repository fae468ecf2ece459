"""Runs beside each other: differences of their numbers, and whether they are real. Reads embeddings, never a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DamagedFile, DataError
from nearkin.evaluate.evaluation import MEASURES, PROBES
from nearkin.evaluate.knn import knn_predictions
from nearkin.evaluate.linear import linear_predictions, linear_sgd_predictions
from nearkin.evaluate.stats import LEVEL, Interval, bootstrap_difference, holm, mcnemar, paired_difference, shared_seeds
from nearkin.format import markdown_text, three_digits
from nearkin.methods import is_seeded
from nearkin.runs.run import FinishedRun, Run, Study, in_order

_TOLERANCE = 0.002  # of accuracy: what another number of threads may change


# The sides of a comparison


def _measured(run: FinishedRun, measure: str) -> float | None:
    return MEASURES[measure].of(run.evaluation.primary)


@dataclass(frozen=True)
class Side:
    """One method with one configuration: its runs by seed. ``seeded``: whether its result depends on the seed; if not, its
    run stands for every seed."""

    name: str
    runs: dict[int, FinishedRun]
    seeded: bool

    def run(self, seed: int) -> FinishedRun:
        """The run that stands for ``seed``."""
        return self.runs[seed] if self.seeded else next(iter(self.runs.values()))


def load_sides(paths: Sequence[Path]) -> list[Side]:
    """Finished runs and studies, grouped by folder, method and settings, in the order given.

    Runs that differ in nothing but the seed are one side, unless that leaves nothing to compare.

    Raises:
        DataError: a path that is no finished run or study. ConfigError: fewer than two things to compare.
    """
    runs: dict[Path, FinishedRun] = {}
    for path in paths:
        for run in _finished(path):
            runs.setdefault(run.folder.resolve(), run)
    groups: dict[tuple[Path, str, str], list[FinishedRun]] = {}
    for folder, run in runs.items():
        settings = json.dumps(run.config().settings, sort_keys=True)
        groups.setdefault((folder.parent, run.method, settings), []).append(run)
    every = list(runs.values())
    if len(groups) == 1 and len(every) > 1:
        return [Side(f"{run.title}, seed {run.seed}", {run.seed: run}, seeded=True) for run in every]
    if len(groups) < 2:
        raise ConfigError(f"{len(groups)} run is nothing to compare; give at least two runs, or a study of several.")
    titles = [members[0].title for members in groups.values()]
    sides: list[Side] = []
    for (parent, method, _), members in groups.items():
        name = members[0].title
        if titles.count(name) > 1:
            name += f" ({parent.parent.name if parent.name == 'runs' else members[0].folder.name})"
        if name in {side.name for side in sides}:
            name += f" [{members[0].folder}]"
        sides.append(Side(name, {run.seed: run for run in members}, is_seeded(method)))
    return sides


def _finished(path: Path) -> list[FinishedRun]:
    """The finished runs of a study, or the one in a run's folder."""
    study, run = Study(path), Run(path)
    if study.exists:
        runs = [_read(inside) for inside in study.runs() if inside.done]
        if not runs:
            raise DataError(f"{path} has no finished runs. Continue the study, then compare.")
        return in_order(runs)
    if run.exists:
        return [_read(run)]
    raise DataError(f"{path} is neither a run nor a study of nearkin. List what there is with 'nearkin runs FOLDER'.")


def _read(run: Run) -> FinishedRun:
    try:
        if run.config().data is not None:
            raise DataError(f"{run.folder} was trained by itself and never evaluated. Runs of a study can be compared.")
        return run.finished()
    except DamagedFile as damage:
        state = "is not finished" if damage.missing else f"has a file that {damage.reason}"
        hint = f"See 'nearkin doctor {run.folder}'."
        raise DataError(f"{run.folder} {state}: no evaluation to compare. {hint}") from damage


# Whether each image is read right, made again from a run's embeddings with the probes of the protocol


class CannotTell(Exception):
    """Why a question has no answer, in words that follow "cannot be told:"."""


@dataclass
class PerImage:
    """Results per image. Keeps the vectors of one run at a time in memory, and the results of all.

    Attributes:
        say: told what is being computed.
    """

    say: Callable[[str], None] = lambda text: None
    _tests: dict[Path, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    _right: dict[tuple[Path, str], NDArray[np.bool_]] = field(default_factory=dict)
    _loaded: tuple[Path, Embeddings] | None = None

    def test_set(self, run: FinishedRun) -> tuple[tuple[str, str], ...]:
        """(id, class name) of the labelled test images, sorted by id. Raises CannotTell."""
        if run.folder not in self._tests:
            test = self._load(run).part("test")
            names = [name or "" for name in test.names()]
            self._tests[run.folder] = tuple(sorted(zip(test.ids.tolist(), names, strict=True)))
        return self._tests[run.folder]

    def right(self, run: FinishedRun, probe: str) -> NDArray[np.bool_]:
        """Whether the probe is right about each labelled test image, bool (N,), in the order of the ids.

        Raises:
            CannotTell: no vectors or labels, or the accuracy made again is not the run's own.
        """
        key = (run.folder, probe)
        if key not in self._right:
            self.say(f"{run.folder.name}: {probe}")
            self._right[key] = _right(self._load(run), probe, run.seed)
        right, stated = self._right[key], _measured(run, probe)
        if stated is None or abs(float(right.mean()) - stated) > max(_TOLERANCE, 2.5 / len(right)):
            told = "none" if stated is None else f"{stated:.4f}"
            raise CannotTell(
                f"the probe made again from {run.folder.name}'s vectors gives {right.mean():.4f}, not {told}"
            )
        return right

    def _load(self, run: FinishedRun) -> Embeddings:
        if self._loaded is None or self._loaded[0] != run.folder:
            try:
                self._loaded = (run.folder, run.embeddings())
            except (DataError, ValueError, KeyError, TypeError) as error:
                raise CannotTell(f"no readable vectors of {run.folder.name}") from error
        return self._loaded[1]


def _right(embeddings: Embeddings, probe: str, seed: int) -> NDArray[np.bool_]:
    if embeddings.labels is None:
        raise CannotTell("the images have no labels")
    parts = []
    for name in ("train", "val", "test"):
        part = embeddings.part(name)
        known = np.flatnonzero(part.labels >= 0) if part.labels is not None else np.arange(0)
        if not len(known):
            raise CannotTell(f"no labelled {name} images")
        parts.append(part.take(known))
    train, val, test = parts
    assert train.labels is not None and val.labels is not None and test.labels is not None
    a, b, classes = (train.Z, train.labels), (val.Z, val.labels), len(embeddings.classes)
    if probe == "linear":
        predicted = linear_predictions(a, b, test.Z, classes)[0]
    elif probe == "knn":
        predicted = knn_predictions(a, b, test.Z, classes)[0]
    else:
        standardized = probe == "linear_sgd_standardised"
        predicted = linear_sgd_predictions(a, test.Z, classes, seed=seed, standardized=standardized)
    right: NDArray[np.bool_] = (predicted == test.labels)[np.argsort(test.ids, kind="stable")]
    return right


# The differences, and what can honestly be said of each


@dataclass(frozen=True)
class MeasuredDifference:
    """A measure of two sides.

    Attributes:
        metric: key of MEASURES. reference, other: means over the runs that were used; difference: other - reference.
        interval: 95 %, of the difference. p: two-sided, uncorrected; p_holm: corrected for all tests of the report.
        test: how interval and p were obtained; why_not: why they could not be, when p is None.
    """

    metric: str
    reference: float
    other: float
    difference: float
    interval: Interval | None = None
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
    differences: tuple[MeasuredDifference, ...]
    sentence: str = ""


@dataclass(frozen=True)
class ComparisonReport:
    """Attributes:
    comparisons: one per side but the first. tests: how many p values Holm's correction counted. notes: for the reader.
    """

    comparisons: tuple[Comparison, ...]
    tests: int
    notes: tuple[str, ...] = ()


def compare(sides: Sequence[Side], *, say: Callable[[str], None] = lambda text: None) -> ComparisonReport:
    """Compare every side with the first one.

    With two or more shared seeds: Student's paired t over seeds. With one pair of runs: McNemar's exact test and a
    paired bootstrap over the test images, the probes made again from the stored vectors. Otherwise nothing is claimed.

    Args:
        say: told what is being computed.
    """
    images = PerImage(say)
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
    return ComparisonReport(tuple(out), len(tested), notes)


def _compare(reference: Side, other: Side, images: PerImage) -> Comparison:
    pairs, seeds, why_not = _pairs(reference, other)
    if not why_not:
        why_not = _unlike(pairs, images)
    single = len(pairs) == 1 and not why_not
    if single:  # side by side, because only one file of vectors is kept in memory
        for run in pairs[0]:
            for probe in PROBES:
                _try(images, run, probe)
    differences = []
    for metric in MEASURES:
        values = [(_measured(a, metric), _measured(b, metric)) for a, b in pairs]
        known = [(a, b) for a, b in values if a is not None and b is not None]
        if not known or len(known) != len(values):
            continue
        a, b = (float(np.mean(column)) for column in zip(*known, strict=True))
        difference = MeasuredDifference(metric, a, b, b - a)
        if why_not:
            difference = replace(difference, why_not=why_not)
        elif not single:
            difference = _over_seeds(difference, known)
        else:
            difference = _over_images(difference, pairs[0], images)
        differences.append(difference)
    return Comparison(reference.name, other.name, seeds, tuple(differences))


def _pairs(reference: Side, other: Side) -> tuple[list[tuple[FinishedRun, FinishedRun]], tuple[int, ...], str]:
    """Pairs of runs, their seeds, and why they cannot be paired (then every run of the smaller side is used once)."""
    seeds = shared_seeds(reference.runs, other.runs, a_seeded=reference.seeded, b_seeded=other.seeded)
    if seeds:
        return [(reference.run(seed), other.run(seed)) for seed in seeds], tuple(seeds), ""
    pairs = list(zip(reference.runs.values(), other.runs.values(), strict=False))
    if len(reference.runs) == len(other.runs) == 1:
        return pairs, (), ""
    return pairs, (), "several seeds, none of them shared"


def _unlike(pairs: Sequence[tuple[FinishedRun, FinishedRun]], images: PerImage) -> str:
    """Why two sides must not be compared; empty if their test images are the same."""
    try:
        for a, b in pairs:
            if images.test_set(a) != images.test_set(b):
                return "not the same test images or labels"
    except CannotTell as reason:
        return f"{reason}, so that the test images are unknown"
    return ""


def _over_seeds(difference: MeasuredDifference, values: Sequence[tuple[float, float]]) -> MeasuredDifference:
    paired = paired_difference(*zip(*values, strict=True))
    if paired.p is None:
        return replace(difference, why_not="the same difference in every seed leaves no spread to judge by")
    return replace(difference, interval=paired.interval, p=paired.p, test=f"paired t over {len(values)} seeds")


def _over_images(
    difference: MeasuredDifference, pair: tuple[FinishedRun, FinishedRun], images: PerImage
) -> MeasuredDifference:
    if difference.metric not in PROBES:
        return replace(difference, why_not="one pair of runs, and no result per image")
    try:
        a, b = (images.right(run, difference.metric) for run in pair)
    except CannotTell as reason:
        return replace(difference, why_not=str(reason))
    test = f"McNemar's exact test over {len(a):,} test images"
    return replace(difference, interval=bootstrap_difference(b, a), p=mcnemar(b, a), test=test)


def _try(images: PerImage, run: FinishedRun, probe: str) -> None:
    """Compute a probe's results while the run's vectors are in memory. An error is raised when the result is requested."""
    if _measured(run, probe) is not None:
        try:
            images.right(run, probe)
        except CannotTell:
            return


def _sentence(comparison: Comparison, tests: int) -> str:
    """The conclusion in words, on the linear probe if it was measured."""
    names = f"{comparison.other} against {comparison.reference}"
    if not comparison.differences:
        return f"{names}: no number that both have, so nothing can be said."
    first = comparison.differences[0]
    measure = MEASURES[first.metric]
    size = f"{100 * first.difference:+.1f} points" if measure.percent else three_digits(first.difference, "+")
    said = f"{names}: {measure.title} {size.replace('-', '−')}"
    if first.p is None:
        return f"{said}; whether that is more than chance cannot be told: {first.why_not}."
    low, high = first.interval or (first.difference, first.difference)
    scale = 100 if measure.percent else 1
    said += f" [{scale * low:+.1f}, {scale * high:+.1f}]".replace("-", "−")
    verdict = "significant" if first.significant else "not significant"
    many = f" after Holm's correction for {tests} tests" if tests > 1 else ""
    said += f", {verdict}{many} (p {shown_p(first.p_holm)}, {first.test})"
    return said + ("; one training run each, so another seed may say otherwise." if "McNemar" in first.test else ".")


def shown_p(p: float | None) -> str:
    """A p value for people."""
    return "-" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


# As Markdown and on the terminal


def _cells(d: MeasuredDifference) -> list[str]:
    """metric, reference, other, difference with its interval, corrected p, how or why not."""
    measure = MEASURES[d.metric]
    if not measure.percent:
        reference, other, size = three_digits(d.reference), three_digits(d.other), three_digits(d.difference, "+")
        ends = (
            "" if d.interval is None else f" [{three_digits(d.interval[0], '+')}, {three_digits(d.interval[1], '+')}]"
        )
    else:
        reference, other, size = f"{100 * d.reference:.2f}", f"{100 * d.other:.2f}", f"{100 * d.difference:+.2f}"
        ends = "" if d.interval is None else f" [{100 * d.interval[0]:+.2f}, {100 * d.interval[1]:+.2f}]"
    how = d.test + (", significant" if d.significant else ", not significant") if d.p is not None else ""
    title = measure.title + (", %" if measure.percent else "")
    return [
        title,
        reference,
        other,
        (size + ends).replace("-", "−"),
        shown_p(d.p_holm),
        how or f"cannot be told: {d.why_not}",
    ]


def to_markdown(report: ComparisonReport) -> str:
    """The report's sentences, a table per comparison, and the notes."""
    lines = ["# Comparison", ""]
    lines += [f"- {markdown_text(comparison.sentence)}" for comparison in report.comparisons]
    for comparison in report.comparisons:
        lines += ["", f"## {markdown_text(comparison.other)} against {markdown_text(comparison.reference)}", ""]
        if comparison.seeds:
            lines += [f"Seeds: {', '.join(map(str, comparison.seeds))}.", ""]
        lines += [
            f"| metric | {markdown_text(comparison.reference)} | {markdown_text(comparison.other)} | difference | p, corrected | |"
        ]
        lines += ["|---|---|---|---|---|---|"]
        lines += [f"| {' | '.join(markdown_text(cell) for cell in _cells(d))} |" for d in comparison.differences]
    lines += ["", *report.notes, ""]
    return "\n".join(lines)


def print_comparison(report: ComparisonReport) -> None:
    """A table per comparison, then one sentence each, then the notes."""
    console = Console()
    for comparison in report.comparisons:
        title = escape(f"{comparison.other} against {comparison.reference}")
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
        for column in ("metric", "reference", "other", "difference", "p, corrected", ""):
            table.add_column(column, overflow="fold", justify="right" if column in ("reference", "other") else "left")
        for difference in comparison.differences:
            table.add_row(*(escape(cell) for cell in _cells(difference)))
        console.print(table)
    for comparison in report.comparisons:
        console.print(comparison.sentence, markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
