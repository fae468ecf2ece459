"""All methods and the scores that need no learning in one table, with the verdict: was a good AUROC earned?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nearkin.anomalies.baseline_detectors import TRIVIAL
from nearkin.anomalies.detectors import SCORES, TrainNeighbors
from nearkin.anomalies.image_scores import normal_rows
from nearkin.anomalies.ood_eval import OodEvaluation, evaluate_baselines, evaluate_vectors
from nearkin.anomalies.ood_metrics import OodMetrics
from nearkin.anomalies.ood_sets import InSet, OodSet, SetDescription
from nearkin.anomalies.outlier_overlap import OutlierOverlap, outlier_overlap, top_overlap
from nearkin.data import ImageSet
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError
from nearkin.evaluate.published import NEAR_CAVEAT, ONE_CLASS_CAVEAT, PUBLISHED, PublishedAuroc
from nearkin.evaluate.stats import t_interval
from nearkin.fileio import IF_KNOWN, named
from nearkin.folders import run_name
from nearkin.search.exact import KnnSearch, knn

PRIMARY = "knn-norm"  # fixed before any figure was seen
NEAR, ONE_CLASS = "held-out class", "one-class"
FAR = 0.9  # AUROC of the best score that needs no learning from which a foreign set is called far
SMALL = 0.05  # a gain that the text calls little; it decides nothing
_LEAST_METHODS = 4  # with three even a perfect order has p = 1/3
RULE = (
    "Earned means: on every set without shortcuts the method's AUROC interval lies above that of the best score that needs "
    "no learning, and on held-out classes its AUROC is higher by more than a paired t 95% interval over classes. The best "
    "trivial score is picked per set by its AUROC, in its favour."
)
_UNDECIDED = "cannot be decided; it needs a set without shortcuts and labelled classes to hold out"
_NO_TRIVIAL = "cannot be said without the images' trivial scores (give the images)."


@dataclass(frozen=True)
class JudgedRun:
    """One run in the comparison. accuracy: of its probe, in [0, 1], if known."""

    method: str
    seed: int
    evaluation: OodEvaluation
    title: str = ""
    accuracy: float | None = None

    @property
    def name(self) -> str:
        """Method and seed, e.g. "vicreg-s0"."""
        ending = f"-s{self.seed}"
        return self.method if self.method.endswith(ending) else run_name(self.method, self.seed)


@dataclass(frozen=True)
class ScoreRow:
    """One score of one run (kind "learned") or of none ("trivial") on one set, or the mean over classes ("held-out class",
    "one-class"), of which only the AUROC is known.
    """

    kind: str
    method: str
    title: str
    seed: int | None
    accuracy: float | None
    score: str
    set: str
    auroc: float = field(metadata=named("AUROC"))
    interval: tuple[float, float] | None = None
    aupr_in: float | None = field(default=None, metadata=named("AUPR_IN"))
    aupr_out: float | None = field(default=None, metadata=named("AUPR_OUT"))
    fpr95: float | None = field(default=None, metadata=named("FPR@95"))
    n_in: int | None = None
    n_out: int | None = None


@dataclass(frozen=True)
class BestTrivial:
    """The score that needs no learning with the highest AUROC on a set."""

    score: str
    auroc: float = field(metadata=named("AUROC"))
    interval: tuple[float, float]


@dataclass(frozen=True)
class SetVerdict:
    """A method (mean over seeds) beside the best trivial score, on one set or on held-out classes.

    Attributes:
        interval: union of the seeds' (images and seeds both count); None over classes.
        trivial_score, trivial: its name and AUROC. beats: whether the method is above it. None without trivial scores.
        gap: over classes, the 95 % interval of the paired difference.
    """

    set: str
    shortcut_free: bool
    interval: tuple[float, float] | None
    auroc: float = field(metadata=named("AUROC"))
    trivial_score: str | None = None
    trivial: float | None = None
    beats: bool | None = None
    gap: tuple[float, float] | None = field(default=None, metadata=IF_KNOWN)


@dataclass(frozen=True)
class MethodVerdict:
    """earned: None where it cannot be decided. text: a sentence."""

    method: str
    title: str
    n_seeds: int
    earned: bool | None
    against: tuple[SetVerdict, ...]
    text: str


@dataclass(frozen=True)
class Verdict:
    """Plain words (``text``, sentences) and the numbers behind them. score: the one that is read. best_trivial: by set."""

    rule: str
    score: str
    best_trivial: dict[str, BestTrivial]
    methods: tuple[MethodVerdict, ...]
    text: tuple[str, ...]


@dataclass(frozen=True)
class ProbeCorrelation:
    """Spearman correlation of probe accuracy and AUROC over n methods.

    p: two-sided, by permutation. rho and p are None below 4 methods or when one side is constant. statement: in words.
    """

    n: int
    rho: float | None
    p: float | None
    statement: str


@dataclass(frozen=True)
class AnomalyTable:
    """Attributes:
    primary: the score that the verdict reads. scores, trivial_scores: name -> description of those that were computed.
    rows: one per run, score and set. overlap: of the most anomalous test images over runs and scores.
    probe: set -> does a better probe mean better detection? published: figures of papers, see ``published.py``.
    details: run -> its evaluation, and that of the trivial scores.
    """

    primary: str
    scores: dict[str, str]
    trivial_scores: dict[str, str]
    sets: tuple[SetDescription, ...]
    rows: tuple[ScoreRow, ...]
    overlap: OutlierOverlap
    probe: dict[str, ProbeCorrelation]
    verdict: Verdict
    published: dict[str, tuple[PublishedAuroc, ...]]
    caveats: tuple[str, ...]
    details: dict[str, OodEvaluation]


def compare(
    runs: Sequence[JudgedRun],
    trivial: OodEvaluation | None,
    sets: Sequence[OodSet],
    *,
    primary: str = PRIMARY,
    details: Mapping[str, OodEvaluation] | None = None,
) -> AnomalyTable:
    """The whole table.

    Args:
        trivial: what :func:`evaluate_baselines` found; None where there are no images (then nothing can be called earned).
        primary: the score that the verdict reads, fixed beforehand. details: the evaluations, by the names they are to have.
    """
    if not runs:
        raise ConfigError("nothing to compare: no embedding was judged.")
    described = [item.describe() for item in sets]
    rows = [row for run in runs for row in _rows(run.evaluation, run)]
    if trivial is not None:
        rows += _rows(trivial, None)
    used = dict.fromkeys(row.score for row in rows if row.kind == "learned")
    tops = {f"{run.name} {score}": ids for run in runs for score, ids in run.evaluation.most_in.items()}
    keys = [(run.method, run.seed, score) for run in runs for score in run.evaluation.most_in]
    judged = verdict(runs, trivial, described, primary)
    return AnomalyTable(
        primary=primary,
        scores={name: SCORES[name].description for name in used},
        trivial_scores=dict(TRIVIAL) if trivial is not None else {},
        sets=tuple(replace(item, kind=_kind(judged.best_trivial.get(item.name))) for item in described),
        rows=tuple(rows),
        overlap=outlier_overlap(keys, top_overlap(tops, runs[0].evaluation.n_test)),
        probe=_probe(rows, primary),
        verdict=judged,
        published=PUBLISHED,
        caveats=(NEAR_CAVEAT, ONE_CLASS_CAVEAT),
        details=dict(details or {}),
    )


def _kind(best: BestTrivial | None) -> str | None:
    """How hard a foreign set is, measured without any method: no set's name decides that."""
    return None if best is None else "far" if best.auroc >= FAR else "near"


def table_of(
    embeddings: Embeddings,
    images: ImageSet,
    ood: Mapping[str, NDArray[np.float32]],
    sets: Sequence[OodSet],
    *,
    name: str,
    train_split: str = "train",
    scores: Sequence[str] = tuple(SCORES),
    k: int | None = None,
    seed: int = 0,
    find: KnnSearch = knn,
) -> AnomalyTable:
    """The table of one embedding with splits. Its details hold ``name`` and "trivial".

    Args:
        images: in the embedding's order. ood: set name -> vectors of its images. find: what finds the neighbours.
        The rest as in :func:`evaluate_vectors`.
    """
    rows = normal_rows(embeddings, train_split)
    parts = []
    for which in (rows.train, rows.inside):
        part = images.take(np.flatnonzero(which))
        if embeddings.labels is not None:  # the file's own labels count, not those of the folder the images came from
            part = replace(part, labels=embeddings.labels[which], classes=embeddings.classes)
        parts.append(part)
    inside, train = InSet(*parts), TrainNeighbors(embeddings.Z[rows.train], find)
    test = embeddings.Z[rows.inside]
    evaluation = evaluate_vectors(train, test, ood, inside, sets, scores=scores, k=k, seed=seed)
    trivial = evaluate_baselines(inside, sets, seed=seed)
    primary = PRIMARY if PRIMARY in scores else scores[0]
    run = JudgedRun(name, seed, evaluation, name)
    return compare([run], trivial, sets, primary=primary, details={name: evaluation, "trivial": trivial})


Who = tuple[str, str, str, int | None, float | None]  # the first five fields of a row


def metrics_row(who: Who, score: str, where: str, metrics: OodMetrics) -> ScoreRow:
    """The row of one score on the set ``where``."""
    area = metrics.auroc
    return ScoreRow(
        *who,
        score,
        where,
        auroc=area.value,
        interval=area.interval,
        aupr_in=metrics.aupr_in,
        aupr_out=metrics.aupr_out,
        fpr95=metrics.fpr95,
        n_in=area.n_in,
        n_out=area.n_out,
    )


def _rows(evaluation: OodEvaluation, run: JudgedRun | None) -> list[ScoreRow]:
    who: Who = ("trivial", "trivial", "no learning", None, None)
    if run is not None:
        who = ("learned", run.method, run.title or run.method, run.seed, run.accuracy)
    out = [
        metrics_row(who, score, where, metrics)
        for where, scores in evaluation.ood.items()
        for score, metrics in scores.items()
    ]
    for where, tables in ((NEAR, evaluation.near), (ONE_CLASS, evaluation.one_class)):
        out += [ScoreRow(*who, score, where, table.mean) for score, table in (tables or {}).items()]
    return out


# The verdict: an AUROC counts only against what needs no learning, where shortcuts are gone


def verdict(
    runs: Sequence[JudgedRun], trivial: OodEvaluation | None, sets: Sequence[SetDescription], primary: str
) -> Verdict:
    """By the score ``primary``; runs that lack it are left out."""
    methods: dict[str, list[JudgedRun]] = {}
    for run in runs:
        if all(primary in scores for scores in run.evaluation.ood.values()):
            methods.setdefault(run.method, []).append(run)
    best = {item.name: _best(trivial, item.name) for item in sets} if trivial is not None else {}
    judged = tuple(_judge(group, trivial, best, sets, primary) for group in methods.values())
    text = _easy(judged, best, sets) + _said(judged, trivial is not None)
    return Verdict(RULE, primary, best, judged, tuple(text))


def _best(trivial: OodEvaluation, where: str) -> BestTrivial:
    score, item = max(trivial.ood[where].items(), key=lambda pair: pair[1].auroc.value)
    return BestTrivial(score, item.auroc.value, item.auroc.interval)


def _judge(
    group: list[JudgedRun],
    trivial: OodEvaluation | None,
    best: dict[str, BestTrivial],
    sets: Sequence[SetDescription],
    primary: str,
) -> MethodVerdict:
    """One method, all its seeds."""
    title = group[0].title or group[0].method
    against = []
    for item in sets:
        areas = [run.evaluation.ood[item.name][primary].auroc for run in group]
        low, high = min(area.interval[0] for area in areas), max(area.interval[1] for area in areas)
        mean = float(np.mean([area.value for area in areas]))
        row = SetVerdict(item.name, item.shortcut_free, (low, high), mean)
        if trivial is not None:
            other = best[item.name]
            row = replace(row, trivial_score=other.score, trivial=other.auroc, beats=low > other.interval[1])
        against.append(row)
    near = _near(group, trivial, primary)
    if near is not None:
        against.append(near)
    deciding = [row for row in against if row.shortcut_free]
    enough = near is not None and len(deciding) > 1 and trivial is not None
    earned = all(row.beats for row in deciding) if enough else None
    text = _sentence(title, earned, deciding, trivial is not None)
    return MethodVerdict(group[0].method, title, len(group), earned, tuple(against), text)


def _near(group: list[JudgedRun], trivial: OodEvaluation | None, primary: str) -> SetVerdict | None:
    """Held-out classes: mean AUROC, and the paired difference from the best trivial score over the classes."""
    tables = [(run.evaluation.near or {}).get(primary) for run in group]
    values = [[row.auroc.value for row in table.classes] for table in tables if table is not None]
    if len(values) < len(group):
        return None
    own = np.mean(values, axis=0)
    row = SetVerdict(NEAR, shortcut_free=True, interval=None, auroc=float(own.mean()))
    if trivial is None or not trivial.near:
        return row
    score, other = max(trivial.near.items(), key=lambda pair: pair[1].mean)
    gap = t_interval(own - np.array([item.auroc.value for item in other.classes]))
    assert gap is not None  # at least 2 classes
    return replace(row, trivial_score=score, trivial=other.mean, beats=gap[0] > 0, gap=gap)


def _said(judged: Sequence[MethodVerdict], has_trivial: bool) -> list[str]:
    """A sentence per method; where none can be decided, why not is said once, not with each."""
    if len(judged) < 2 or any(item.earned is not None for item in judged):
        return [item.text for item in judged]
    if not has_trivial:
        return [f"Whether these figures were earned {_NO_TRIVIAL}"]
    figures = [(item.title, _figures([row for row in item.against if row.shortcut_free])) for item in judged]
    undecided = f"Whether these figures were earned {_UNDECIDED}."
    return [undecided] + [f"{title}: {text}." for title, text in figures if text]


def _sentence(title: str, earned: bool | None, deciding: list[SetVerdict], has_trivial: bool) -> str:
    if not has_trivial:
        return f"{title}: whether its figures were earned {_NO_TRIVIAL}"
    figures = _figures(deciding)
    if earned is None:
        return f"{title}: {_UNDECIDED}. {figures}".strip()
    least = min(row.auroc - row.trivial for row in deciding if row.trivial is not None)
    little = f", by as little as {least:.3f}" if earned and least < SMALL else ""
    return f"{title}: {'earned' if earned else 'not earned'}{little}. {figures}."


def _figures(rows: Sequence[SetVerdict]) -> str:
    """Each set's AUROC beside the best trivial one."""
    return "; ".join(
        f"{row.set} {row.auroc:.3f} against {row.trivial:.3f} ({row.trivial_score}) - "
        + ("above" if row.beats else "not above")
        for row in rows
        if row.trivial is not None
    )


def _easy(judged: Sequence[MethodVerdict], best: dict[str, BestTrivial], sets: Sequence[SetDescription]) -> list[str]:
    """A sentence per set with shortcuts: what the best method and the best trivial score have there."""
    out = []
    for item in sets:
        if item.shortcut_free or item.name not in best or not judged:
            continue
        rows = [(method.title, row) for method in judged for row in method.against if row.set == item.name]
        title, top = max(rows, key=lambda pair: pair[1].auroc)
        other = best[item.name]
        reaches = f"{item.name}: {title} reaches {top.auroc:.4f}"
        out.append(
            f"{reaches}, above {other.score}, which needs no learning, with {other.auroc:.4f}."
            if top.beats
            else f"{reaches}; {other.score}, which needs no learning, {other.auroc:.4f}, so a high figure there proves nothing."
        )
    return out


# Does a better probe mean better anomaly detection?


def _probe(rows: Sequence[ScoreRow], primary: str) -> dict[str, ProbeCorrelation]:
    """By set, over methods (means over seeds)."""
    out = {}
    for where in dict.fromkeys(row.set for row in rows):
        pairs: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if (row.kind, row.set, row.score) == ("learned", where, primary) and row.accuracy is not None:
                pairs.setdefault(row.method, []).append((row.accuracy, row.auroc))
        means = [[float(np.mean(values)) for values in zip(*group, strict=True)] for group in pairs.values()]
        out[where] = probe_predicts_auc([(accuracy, area) for accuracy, area in means])
    return out


def probe_predicts_auc(pairs: Sequence[tuple[float, float]]) -> ProbeCorrelation:
    """Spearman correlation of (probe accuracy, AUROC), one pair per method.

    p is by all permutations up to 7 methods, else by 9,999 random ones.
    """
    n = len(pairs)
    x, y = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    if n < _LEAST_METHODS:
        return ProbeCorrelation(n, None, None, f"{n} methods are too few to say; at least {_LEAST_METHODS} are needed.")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        which = "accuracy" if np.ptp(x) == 0 else "AUROC"
        return ProbeCorrelation(n, None, None, f"the {which} is the same for all {n} methods.")
    a, b = (stats.zscore(stats.rankdata(values)) for values in (x, y))  # Spearman's rho is the mean of their products
    tested = stats.permutation_test(
        (a,),
        lambda values, axis: (values * b).mean(axis=axis),
        vectorized=True,
        permutation_type="pairings",
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    rho, p = float(tested.statistic), float(tested.pvalue)
    says = "goes with it" if rho > 0 else "goes against it"
    chance = f"p = {p:.2f}" if p >= 0.005 else "p < 0.01"
    text = f"over {n} methods the rank correlation is {rho:+.2f} ({chance}, permutations)".replace("-", "−")
    conclusion = "probe accuracy says little about it" if p > 0.05 else f"probe accuracy {says}"
    return ProbeCorrelation(n, rho, p, f"{text}: {conclusion}.")
