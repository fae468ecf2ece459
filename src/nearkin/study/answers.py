"""The questions that a study answers, as numbers with their spread and one plain paragraph each.

Everything is computed from the finished runs' evaluations; nothing is trained or embedded. A question whose runs are missing
has no answer, and is left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.evaluate.evaluation import MEASURES, Evaluation, LayerEvaluation
from nearkin.evaluate.stats import (
    Interval,
    PairedDifference,
    paired_difference,
    shared_seeds,
    spearman,
    spearman_interval,
    t_interval,
)
from nearkin.fileio import IF_ANY, IF_KNOWN, LEFT_OUT, MERGED, to_json
from nearkin.methods import is_seeded


@dataclass(frozen=True)
class RunResult:
    """One run in results.json.

    Attributes:
        id: the folder's name. of_study: one of the study's own methods, which the report shows first.
        config: the method's settings. seconds: of training. images_per_s: of the set, None where nothing was trained.
        training: the last epoch's numbers that are no evaluation of the embedding: loss, its terms, std of the codes or
            projections, alignment; empty where nothing was trained.
        losses: loss and terms in the "first" epoch, in the last on "train"ing images and on "test" images (None where not
            measured); None where nothing was trained.
        curve: (epoch, training loss) of every epoch. neighbor_purity: of the neighbours that NGN learnt from, in [0, 1].
        graph: a note on the neighbour graph of Laplacian eigenmaps. diagnosis: "state" and "message" of the training.
        encoder: what is known of an encoder that others trained, with a "note" for people; None of others.
    """

    id: str
    method: str
    title: str
    seed: int
    trained: bool
    baseline: bool
    of_study: bool
    uses_labels: bool
    config: dict[str, Any]
    seconds: float
    images_per_s: float | None
    epochs: float
    training: dict[str, Any]
    losses: dict[str, dict[str, Any] | None] | None
    neighbor_purity: float | None
    graph: str | None
    diagnosis: dict[str, str] | None
    evaluation: Evaluation
    curve: tuple[tuple[float, float], ...] = field(default=(), metadata=LEFT_OUT)
    encoder: dict[str, Any] | None = field(default=None, metadata=IF_KNOWN)


@dataclass(frozen=True)
class MethodScore:
    """A method's mean accuracy over its seeds, on one layer.

    Attributes:
        interval: 95 %: t over seeds, or the single run's Wilson interval over images. by_seed: the single values.
        over_images: the first run's Wilson interval.
    """

    method: str
    title: str
    layer: str
    mean: float
    interval: Interval
    n_seeds: int
    by_seed: dict[str, float]
    over_images: Interval = field(metadata=LEFT_OUT)

    def row(self, **more: Any) -> dict[str, Any]:
        """Itself as a row of an answer, with ``more`` entries; JSON-able."""
        return to_json(self) | more  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Answer:
    """Attributes:
    statement: the answer. caveat: what it does not mean. rows: the accuracies behind it (:meth:`MethodScore.row`).
    correlations: rank correlations with the probe: {"scope", "predictor", "rho", "interval", "n"}.
    """

    question: str
    statement: str
    caveat: str
    rows: tuple[dict[str, Any], ...] = field(default=(), metadata=IF_ANY)
    correlations: tuple[dict[str, Any], ...] = field(default=(), metadata=IF_ANY)


def answers(runs: Sequence[RunResult]) -> list[Answer]:
    """All questions that these runs can answer."""
    questions = (ablations, two_by_two, neighbours, latent_codes, clusteredness, eigenmaps, losses)
    return [answer for question in questions if (answer := question(runs)) is not None]


# Shared by the answers: means over seeds, which of two is better, and the wording of both


def mean_score(
    runs: Sequence[RunResult], method: str, layer: str | None = None, probe: str = "linear"
) -> MethodScore | None:
    """A method's accuracy over its seeds; None where no run has it. ``layer``: default the primary one."""
    scores = {}
    for run in runs:
        name = layer or run.evaluation.primary_layer
        probed = run.evaluation.layers[name].probe(probe) if name in run.evaluation.layers else None
        if run.method == method and probed is not None:
            scores[run.seed] = (run, name, probed)
    if not scores:
        return None
    first, name, single = next(iter(scores.values()))
    by_seed = {str(seed): score.accuracy for seed, (_, _, score) in scores.items()}
    values = list(by_seed.values())
    interval = t_interval(values) or single.interval
    return MethodScore(
        method, first.title, name, float(np.mean(values)), interval, len(values), by_seed, over_images=single.interval
    )


def paired(a: MethodScore, b: MethodScore) -> PairedDifference | None:
    """a minus b over the seeds that both have; None below two. A seed decides the order of images for both, and which VICReg
    chose their neighbours. As in ``nearkin compare``, a method without seeds stands for every seed."""
    flags = is_seeded(a.method), is_seeded(b.method)
    seeds = shared_seeds(map(int, a.by_seed), map(int, b.by_seed), a_seeded=flags[0], b_seeded=flags[1])
    if len(seeds) < 2:
        return None
    values = [
        [score.by_seed[str(seed)] if seeded else next(iter(score.by_seed.values())) for seed in seeds]
        for score, seeded in zip((a, b), flags, strict=True)
    ]
    return paired_difference(values[1], values[0])


def above(a: MethodScore, b: MethodScore) -> bool:
    """Whether a is better than b beyond chance: over paired seeds, or else by intervals that keep apart.

    ``nearkin compare`` has the same rule over seeds. A single pair of runs it tests by the answers per image, which results do
    not hold; intervals that keep apart are the stricter sign.
    """
    over_seeds = paired(a, b)
    if over_seeds is None:
        return a.interval[0] > b.interval[1]
    if over_seeds.p is None:  # the same difference in every seed: what is left is the choice of the images
        return a.over_images[0] > b.over_images[1]
    return over_seeds.real and over_seeds.mean > 0


def gap(a: MethodScore, b: MethodScore) -> str:
    """How a compares with b, in points: with the interval over paired seeds, or whether the two intervals keep apart."""
    over_seeds = paired(a, b)
    apart = "apart" if above(a, b) or above(b, a) else "overlap"
    if over_seeds is None:
        return f"{signed(a.mean - b.mean)} points (intervals {apart})"
    if over_seeds.interval is None:
        return f"{signed(over_seeds.mean)} points (the same in every seed; intervals over images {apart})"
    low, high = over_seeds.interval
    return f"{signed(over_seeds.mean)} points [{signed(low)}, {signed(high)}]"


def points(value: float) -> str:
    """A share in percent, with one decimal."""
    return f"{100 * value:.1f}"


def signed(value: float) -> str:
    """A share as points with one decimal and its sign, the minus a true one."""
    return f"{100 * value:+.1f}".replace("-", "−")


# What does each term of VICReg contribute, and how much do the weights matter?


def ablations(runs: Sequence[RunResult]) -> Answer | None:
    """Each of VICReg's terms off, and its weights' sensitivity where variants of the weights were run."""
    full = mean_score(runs, "vicreg")
    parts = {
        "invariance": mean_score(runs, "vicreg-noinv"),
        "variance": mean_score(runs, "vicreg-novar"),
        "covariance": mean_score(runs, "vicreg-nocov"),
    }
    ablations = {name: cell for name, cell in parts.items() if cell}
    if full is None or not ablations:
        return None
    # In the table's order, which runs come in.
    variants = dict.fromkeys(
        run.method for run in runs if run.method.startswith("vicreg@") and "_weight=" in run.method
    )
    rows = [full, *ablations.values(), *(cell for v in variants if (cell := mean_score(runs, v)))]
    text = "; ".join(f"without {name} {points(cell.mean)} % ({gap(cell, full)})" for name, cell in ablations.items())
    statement = f"VICReg reads {points(full.mean)} %; {text}."
    if len(ablations) > 1:
        worst, *others = sorted(ablations, key=lambda name: ablations[name].mean)
        close = [name for name in others if not above(ablations[name], ablations[worst])]
        if not above(full, ablations[worst]):
            statement += " Leaving out one of them costs nothing beyond chance."
        elif close:
            told = "; ".join(f"against {name} {gap(ablations[worst], ablations[name])}" for name in close)
            statement += f" Which term it can least do without is not decided: {worst} {told}."
        else:
            statement += f" The term it can least do without here is {worst}."
    grid = [cell for cell in rows if "@" in cell.method]
    if grid:
        low, high = min(cell.mean for cell in grid), max(cell.mean for cell in grid)
        better = [cell.title for cell in grid if above(cell, full)]
        statement += (
            f" With other weights ({len(grid)}) the accuracy lies between {points(low)} and {points(high)} %; better than the "
            f"preset's beyond chance, each taken by itself: {'; '.join(better) or 'none'}."
        )
    return Answer(
        question="What does each term of VICReg contribute?",
        statement=statement,
        caveat="A term's worth depends on the others' weights and on the length of training; a short run punishes slow terms.",
        rows=tuple(cell.row() for cell in rows),
    )


# The 2x2: what do an amortised encoder and generated neighbours buy?


def two_by_two(runs: Sequence[RunResult]) -> Answer | None:
    """{shared encoder, code per image} x {augmentations, neighbours}."""
    cells = {
        "encoder, augmentations": mean_score(runs, "vicreg"),
        "encoder, neighbours": mean_score(runs, "ngn"),
        "codes, augmentations": mean_score(runs, "lo", "codes"),
        "codes, neighbours": mean_score(runs, "free-codes"),
    }
    full = {name: cell for name, cell in cells.items() if cell}
    if len(full) < 4:
        return None
    # Seeds that every cell has, or the means of the cells if they share no seed.
    seeds = [seed for seed in full["encoder, augmentations"].by_seed if all(seed in c.by_seed for c in full.values())]
    values = [[cell.by_seed[seed] for cell in full.values()] for seed in seeds]
    effects = _effects(np.array(values or [[cell.mean for cell in full.values()]]))
    told = {name: _effect(each) for name, each in effects.items()}
    rows = [cell.row(title=f"{cell.title} ({name})") for name, cell in full.items()]
    for method, layer in (("lo", "distilled"), ("le-vicreg", None), ("le-pixels", None)):
        extra = mean_score(runs, method, layer)
        if extra:
            rows.append(extra.row(title=f"beside them: {extra.title}" + (f", {layer}" if layer else "")))
    return Answer(
        question="What do an amortised encoder and generated neighbours buy?",
        statement=(
            f"With augmentations, the encoder is worth {told['encoder, augmentations']} points over a code per image; with "
            f"neighbours {told['encoder, neighbours']}; on average {told['encoder']}. Augmentations are worth "
            f"{told['augmentations, encoder']} points over neighbours for the encoder and {told['augmentations, codes']} for codes; "
            f"on average {told['augmentations']}. {_worth_more(full['encoder, neighbours'], full['codes, augmentations'])}"
        ),
        caveat=(
            "LO ties codes to images by reconstruction, which the other cells do not have: its cell differs in two things. "
            "Neighbours here come from a trained VICReg, so the neighbour cells inherit what augmentations taught it, and "
            "free codes of new images are means of their neighbours' codes under that VICReg. Which is worth more on average is the same "
            "question as which of the two mixed cells reads more."
        ),
        rows=tuple(rows),
    )


def _effects(cells: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Cells (seeds, 4) -> effects (seeds,): of the encoder and of augmentations, each beside either level of the other, and on average."""
    ea, en, ca, cn = cells.T
    return {
        "encoder, augmentations": ea - ca,
        "encoder, neighbours": en - cn,
        "encoder": ((ea - ca) + (en - cn)) / 2,
        "augmentations, encoder": ea - en,
        "augmentations, codes": ca - cn,
        "augmentations": ((ea - en) + (ca - cn)) / 2,
    }


def _effect(effect: NDArray[np.float64]) -> str:
    """The mean, and its 95 % interval over seeds."""
    interval = t_interval(effect.tolist())
    spread = "" if interval is None else f" [{signed(interval[0])}, {signed(interval[1])}]"
    return signed(float(effect.mean())) + spread


def _worth_more(encoder: MethodScore, augmentations: MethodScore) -> str:
    """Which of the two is worth more on average: their average effects differ by just the two cells that have one of them."""
    if above(encoder, augmentations):
        return "On average the encoder is worth more."
    if above(augmentations, encoder):
        return "On average augmentations are worth more."
    return "Which of the two is worth more on average is not decided."


# Why does NGN fall short: wrong neighbours, or no invariance taught?


def neighbours(runs: Sequence[RunResult]) -> Answer | None:
    """Does NGN fail because neighbours are wrong, or because invariance is no longer taught?"""
    base, vicreg = mean_score(runs, "ngn"), mean_score(runs, "vicreg")
    if base is None or vicreg is None:
        return None
    rows, by = [vicreg.row()], {}
    variants = dict.fromkeys(run.method for run in runs if run.method.startswith("ngn") and "@" in run.method)
    for method in ("ngn", "ngn-cosine", "ngn-pixels", "ngn-filtered", "ngn-oracle", "ngn-augmented", *variants):
        if score := mean_score(runs, method):
            shares = [p for run in runs if run.method == method and (p := run.neighbor_purity) is not None]
            rows.append(score.row(purity=float(np.mean(shares)) if shares else None))
            by[method] = score
    text = f"NGN reads {points(base.mean)} %, {gap(base, vicreg)} against VICReg"
    if rows[1]["purity"] is not None:
        text += f"; {points(rows[1]['purity'])} % of its neighbours are of the image's class"
    text += "."
    if "ngn-cosine" in by:
        text += f" Cosine instead of L2 neighbours: {gap(by['ngn-cosine'], base)}."
    if "ngn-filtered" in by:
        text += f" Pure and alike (the nearest of the image's class, by its label): {gap(by['ngn-filtered'], base)}."
    if "ngn-oracle" in by:
        text += f" Pure only (any images of the class): {gap(by['ngn-oracle'], base)}."
    if "ngn-pixels" in by:
        text += f" Neighbours of raw pixels, which no augmentation helped to choose: {gap(by['ngn-pixels'], base)}."
    if "ngn-augmented" in by:
        text += f" Augmentations added back: {gap(by['ngn-augmented'], base)}."
    for method in variants:
        text += f" {by[method].title}: {gap(by[method], base)}." if method in by else ""
    text += _why_short(by, base, vicreg)
    return Answer(
        question="Does NGN fall short because neighbours are wrong, or because invariance is no longer taught?",
        statement=text,
        caveat="Neighbours come from a trained VICReg, so they inherit what augmentations taught it."
        if not {"ngn-filtered", "ngn-oracle"} & set(by)
        else "Oracles read labels. The one with the nearest images of the class bounds what purer neighbours could give; any "
        "images of the class are as pure and less alike, so where they read less, likeness counts and not purity alone.",
        rows=tuple(rows),
    )


def _why_short(by: dict[str, MethodScore], base: MethodScore, vicreg: MethodScore) -> str:
    """How the variants explain NGN's distance to VICReg."""
    said = []
    filtered, oracle, augmented = (by.get(name) for name in ("ngn-filtered", "ngn-oracle", "ngn-augmented"))
    if not above(vicreg, base):
        said.append("whether it falls short at all is not decided")
    elif filtered and above(filtered, base):
        left = (
            f"{gap(vicreg, filtered).lstrip('+')} remain"
            if above(vicreg, filtered)
            else "no more remains beyond chance"
        )
        said.append(
            f"wrong neighbours account for {gap(filtered, base).lstrip('+')} of its distance to VICReg, and {left}"
        )
    elif filtered:
        said.append("purer neighbours that look alike do not help beyond chance")
    if oracle:
        how = "hurts" if above(base, oracle) else "helps" if above(oracle, base) else "changes nothing beyond chance"
        said.append(f"purity alone {how}" + (": positives have to look alike, too" if how == "hurts" else ""))
    if augmented:
        how = "help" if above(augmented, base) else "hurt" if above(base, augmented) else "change nothing beyond chance"
        said.append(f"augmentations added back {how}")
    return f" So {'; '.join(said)}." if said else ""


# Can the variance term work when each image has its own code?


_MET = 0.005  # of the variance term: nothing that its weight could make felt


@dataclass(frozen=True)
class _Codes:
    """A form of codes, over its seeds: std per dimension of training codes and of inferred ones, terms of the loss."""

    score: MethodScore = field(metadata=MERGED)
    std: float | None
    std_interval: Interval | None
    std_inferred: float
    batch: int | None
    terms: dict[str, float | None]


def latent_codes(runs: Sequence[RunResult]) -> Answer | None:
    """LO's code forms and batch sizes: per-dimension std and probe."""
    mine = [run for run in runs if run.method.split("@")[0] in ("lo", "lo-naive")]
    codes: dict[str, _Codes] = {}
    for method in dict.fromkeys(run.method for run in mine):
        score = mean_score(runs, method, "codes")
        if score is not None:
            codes[method] = _codes(score, [run for run in mine if run.method == method])
    if not codes:
        return None
    rows = [to_json(item) for item in codes.values()]
    shared, naive = codes.get("lo"), codes.get("lo-naive")
    text = []
    if shared:
        text.append(_shared(shared))
        text += _against_pixels(runs, shared.score)
    distilled, features = mean_score(runs, "lo", "distilled"), mean_score(runs, "lo", "distilled-backbone")
    if distilled:
        rows.append(distilled.row(title=f"{distilled.title}, distilled encoder"))
        text.append(f"The encoder distilled from the codes reads {points(distilled.mean)} %.")
    if features:
        rows.append(features.row(title=f"{features.title}, features of the distilled encoder"))
        text.append(f"Its features read {points(features.mean)} %.")
    if naive:
        text.append(_naive(runs, naive, shared))
    text += _batches(codes)
    return Answer(
        question="Can the variance term work when each image has its own code?",
        statement=" ".join(text),
        caveat=(
            "Random codes satisfy variance and covariance from the start, so a std near 1 alone proves nothing. Codes of test images are "
            "found by optimisation with the decoder frozen, so they need not spread like those of training images."
        ),
        rows=tuple(rows),
    )


def _codes(score: MethodScore, group: Sequence[RunResult]) -> _Codes:
    spread = [run.training.get("projector_std") for run in group]
    known = [value for value in spread if value is not None]
    terms: dict[str, float | None] = {}
    for name in ("variance", "invariance"):
        values = [value for run in group if (value := run.training.get(name)) is not None]
        terms[name] = float(np.mean(values)) if len(values) == len(group) else None
    return _Codes(
        score,
        std=float(np.mean(known)) if known else None,
        std_interval=t_interval(known),
        std_inferred=float(np.mean([run.evaluation.primary.health.std_mean for run in group])),
        batch=group[0].config.get("batch_size"),
        terms=terms,
    )


def _shared(codes: _Codes) -> str:
    """A code per image: its probe and spread, and what is left for the variance term to do."""
    term = codes.terms["variance"]
    text = f"A code per image reads {points(codes.score.mean)} %; its training codes' std is {_std(codes)}, of inferred ones "
    text += f"{codes.std_inferred:.2f}."
    if term is None:
        return text
    if term >= _MET:
        return text + f" The variance term is still {term:.2g} at the end."
    if codes.std is not None and codes.std >= 1:
        return text + " The variance term is 0 at the end: the codes spread past its target, and it has nothing to do."
    return text + f" The variance term is below {_MET} at the end."


def _against_pixels(runs: Sequence[RunResult], codes: MethodScore) -> list[str]:
    pixels = mean_score(runs, "raw-pixels")
    if pixels is None:
        return []
    if above(codes, pixels) or above(pixels, codes):
        verdict = "more" if above(codes, pixels) else "less"
        return [f"To a linear rule its codes hold {verdict} than raw pixels ({gap(codes, pixels)})."]
    return [f"Whether its codes hold more than raw pixels, to a linear rule, is not decided ({gap(codes, pixels)})."]


def _naive(runs: Sequence[RunResult], naive: _Codes, shared: _Codes | None) -> str:
    """A code per view: its probes beside those of a shared code, and how far apart the codes of one image are."""
    text = f"A free code per view reads {points(naive.score.mean)} %, std {_std(naive)}"
    near, reference = mean_score(runs, "lo-naive", "codes", "knn"), mean_score(runs, "lo", "codes", "knn")
    if shared:
        text += f": {gap(naive.score, shared.score)} against a shared one"
        if near and reference:
            text += f", and {gap(near, reference)} in kNN"
    apart = naive.terms["invariance"]
    if apart is not None and naive.std:
        # Two unrelated codes of standard deviation s differ by 2 s^2 per dimension.
        share = apart / (2 * naive.std**2)
        text += (
            f". Two codes of one image stay {100 * share:.0f} % as far apart (squared) as those of two images would be if they were "
            "unrelated: only the loss's own terms tie them together, not a net"
        )
    return text + "."


def _std(codes: _Codes) -> str:
    if codes.std is None:
        return "unknown"
    interval = codes.std_interval
    return f"{codes.std:.2f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")


def _batches(codes: dict[str, _Codes]) -> list[str]:
    """Std and probe over batch sizes, for each form that was run with several."""
    told = []
    for form, name in (("lo", "a code per image"), ("lo-naive", "a code per view")):
        sizes = {
            item.batch: item
            for method, item in codes.items()
            if re.fullmatch(rf"{form}(@batch_size=\d+)?", method) and item.batch
        }
        if len(sizes) < 2:
            continue
        listed = "; ".join(
            f"{size}: std {_std(sizes[size])}, {points(sizes[size].score.mean)} % [{points(sizes[size].score.interval[0])}, "
            f"{points(sizes[size].score.interval[1])}]"
            for size in sorted(sizes)
        )
        told.append(f"By batch size, {name}: {listed}.")
    return told


# Does how clustered an embedding is predict how strong it is?


_LEAST_RUNS = 5


_PREDICTORS: dict[str, Callable[[RunResult], float | None]] = {
    "silhouette of k-means": lambda run: run.evaluation.primary.clusters.silhouette,
    "silhouette of classes": lambda run: run.evaluation.primary.clusters.class_silhouette,
    "neighbour purity": lambda run: MEASURES["purity"].of(run.evaluation.primary),
    "t-SNE map purity": lambda run: maps["tsne"].purity if "tsne" in (maps := run.evaluation.primary.maps) else None,
    "RankMe": lambda run: run.evaluation.primary.health.rankme,
    "uniformity": lambda run: run.evaluation.primary.health.uniformity,
    "alignment": lambda run: run.training.get("alignment"),
    "final training loss": lambda run: run.training.get("loss"),
}


def _linear(run: RunResult) -> float | None:
    return MEASURES["linear"].of(run.evaluation.primary)


def _rho(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['rho']:+.2f} [{low:+.2f}, {high:+.2f}]".replace("-", "−")


def _on_one_scale(group: Sequence[RunResult]) -> Sequence[RunResult]:
    """The runs of the commonest method and weights of the loss's terms: only their losses can be compared."""

    def kind(run: RunResult) -> tuple[str, tuple[tuple[str, float], ...]]:
        weights = tuple(sorted((k, float(v)) for k, v in run.config.items() if k.endswith("_weight")))
        return run.method.partition("@")[0], weights

    commonest = Counter(map(kind, group)).most_common(1)
    return [run for run in group if kind(run) == commonest[0][0]]


def clusteredness(runs: Sequence[RunResult]) -> Answer | None:
    """Which number that needs no probe predicts the probe, over runs?"""
    scored = [run for run in runs if _linear(run) is not None]
    families = {"all methods": scored} | {
        f"{family} only": [run for run in scored if run.method.split("@")[0].split("-")[0] == family]
        for family in dict.fromkeys(run.method.split("@")[0].split("-")[0] for run in scored)
    }
    rows: list[dict[str, Any]] = []
    for scope, group in families.items():
        for name, read in _PREDICTORS.items():
            if name == "final training loss" and scope == "all methods":
                continue  # losses of different methods have no common scale
            of = _on_one_scale(group) if name == "final training loss" else group
            pairs = [(read(run), _linear(run)) for run in of]
            kept = [(a, b) for a, b in pairs if a is not None and b is not None and math.isfinite(a)]
            if len(kept) < _LEAST_RUNS or len({a for a, _ in kept}) < 2:
                continue
            x, y = (np.array(column, dtype=np.float64) for column in zip(*kept, strict=True))
            if len(np.unique(y)) < 2:
                continue
            rho, (low, high) = spearman(x, y), spearman_interval(x, y)
            if math.isfinite(low):
                rows.append({"scope": scope, "predictor": name, "rho": rho, "interval": [low, high], "n": len(kept)})
    if not rows:
        return None
    across = [row for row in rows if row["scope"] == "all methods"]
    best = max(across or rows, key=lambda row: abs(row["rho"]))
    shape = next((row for row in across if row["predictor"] == "silhouette of k-means"), None)
    text = f"Over {best['n']} runs, {best['predictor']} goes best with the probe: rank correlation {_rho(best)}."
    if shape is not None and shape is not best:
        low, high = shape["interval"]
        verdict = "says little" if low < 0 < high else "goes with it" if shape["rho"] > 0 else "goes against it"
        text += f" How clustered the embedding is (silhouette of k-means) {verdict}: {_rho(shape)}."
    return Answer(
        question="Does how clustered an embedding is predict how strong it is?",
        statement=text,
        caveat=(
            "Purity and the silhouette of classes read the same labels as the probe; only silhouette of k-means, RankMe, "
            "uniformity, alignment and loss need none. A correlation over methods mixes families; few runs, wide intervals."
        ),
        correlations=tuple(rows),
    )


# VICReg beside Laplacian eigenmaps


def eigenmaps(runs: Sequence[RunResult]) -> Answer | None:
    """VICReg beside Laplacian eigenmaps."""
    vicreg = mean_score(runs, "vicreg")
    maps = [cell for name in ("le-vicreg", "le-random", "le-pixels") if (cell := mean_score(runs, name))]
    if not maps:
        return None
    told = [f"{cell.title} {points(cell.mean)} %" + (f" ({gap(cell, vicreg)})" if vicreg else "") for cell in maps]
    text = "; ".join([f"VICReg {points(vicreg.mean)} %", *told] if vicreg else told) + "."
    own = next((cell for cell in maps if cell.method == "le-vicreg"), None)
    if vicreg and own:
        if above(vicreg, own):
            text += " So to a linear rule these eigenmaps hold less than the features that their graph was built on."
        elif above(own, vicreg):
            text += " So to a linear rule these eigenmaps hold more than the features that their graph was built on."
        else:
            text += " Whether they hold less than the features that their graph was built on is not decided."
    notes: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        if run.method.split("-")[0] == "le" and run.graph:
            notes.setdefault(run.graph, {}).setdefault(run.title, []).append(f"s{run.seed}")
    graphs = ""
    for note, who in notes.items():
        named = "; ".join(f"{title} {', '.join(seeds)}" for title, seeds in who.items())
        graphs += f" {named}: {note}."
    return Answer(
        question="VICReg beside Laplacian eigenmaps: is the neighbour graph enough?",
        statement=text + graphs,
        caveat=(
            "A graph is more than its first eigenmaps, and these are of at most 10,000 images. Eigenmaps are as good as the distances their graph is built on, and have no encoder: new images are placed by "
            "the Nystrom extension. Their maps stand in the section Maps (folded where there are many methods), in the same layout and with the same numbers."
        ),
        rows=tuple(score.row() for score in ([vicreg] if vicreg else []) + maps),
    )


# How do the loss and its terms fall over training, on training and on test images?


_TERMS = ("invariance", "variance", "covariance")


def losses(runs: Sequence[RunResult]) -> Answer | None:
    """Loss in the first and the last epoch, train beside test, per term, for VICReg and NGN."""
    told = [text for method in ("vicreg", "ngn") if (text := _method([r for r in runs if r.method == method]))]
    if not told:
        return None
    return Answer(
        question="How do the loss and its terms fall, on training and on test images?",
        statement=" ".join(told)
        + " The curves, over epochs and over training images seen, stand in the section Training.",
        caveat=(
            "Training losses are an epoch's means with the batch's statistics, test losses one pass of the last weights in "
            "evaluation mode over at most 2,048 images: a gap is not all overfitting. Losses of two methods have no common scale."
        ),
    )


def _method(mine: Sequence[RunResult]) -> str:
    """One method's sentence; empty without test losses."""
    told = [(run.title, run.losses) for run in mine if run.losses and run.losses["test"]]
    if not told:
        return ""

    def number(place: str, name: str) -> str:
        values = [float((losses[place] or {})[name]) for _, losses in told]
        interval = t_interval(values)
        return f"{np.mean(values):.3g}" + ("" if interval is None else f" [{interval[0]:.3g}, {interval[1]:.3g}]")

    terms = "; ".join(
        f"{name} {number('train', name)} on train, {number('test', name)} on test"
        for name in _TERMS
        if all(name in (losses[place] or {}) for _, losses in told for place in ("train", "test"))
    )
    seeds = f"{len(told)} seeds" if len(told) > 1 else "one seed"
    return (
        f"{told[0][0]} ({seeds}): the loss falls from {number('first', 'loss')} in the first epoch to "
        f"{number('train', 'loss')} in the last; on test images it is {number('test', 'loss')}. Unweighted terms at the end: "
        f"{terms}."
    )


# What happens without the variance term: collapse, of scale or of information?


@dataclass(frozen=True)
class Prediction:
    """The outcome of a prediction about training without the variance term, with the numbers that decide it."""

    statement: str
    numbers: dict[str, Any]


def without_variance(runs: Sequence[RunResult]) -> dict[str, Prediction]:
    """The predictions by their questions; empty without both runs."""
    full = next((run for run in runs if run.method == "vicreg"), None)
    without = next((run for run in runs if run.method == "vicreg-novar"), None)
    if full is None or without is None:
        return {}
    before, after = full.evaluation.layers, without.evaluation.layers
    a, b = full.evaluation.primary, after[full.evaluation.primary_layer]
    both = [name for name in before if name in after]
    out = {
        "Does it collapse without the variance term?": Prediction(
            _which_collapse({name: (before[name], after[name]) for name in both}),
            {name: {"vicreg": _collapse(before[name]), "vicreg-novar": _collapse(after[name])} for name in both},
        )
    }
    if a.linear_sgd and b.linear_sgd and b.linear_sgd_standardised:
        whole, lost, left = a.linear_sgd.accuracy, b.linear_sgd.accuracy, b.linear_sgd_standardised.accuracy
        if lost >= whole - 0.02:
            meaning = "There is no loss to explain: without the term the raw features are read as well."
        elif left > lost + 0.5 * (whole - lost):
            meaning = "Most of the loss is scale: the information is still there, squeezed into tiny differences."
        else:
            meaning = "Standardising does not bring it back: most of the information is gone."
        out["Is information lost, or only scale?"] = Prediction(
            f"The SGD probe reads {100 * lost:.1f} % from the raw features and {100 * left:.1f} % after standardising "
            f"each dimension (VICReg: {100 * whole:.1f} % raw). {meaning}",
            {"raw": lost, "standardised": left},
        )
    compact, faster = _compactness(a, b), _convergence(full, without)
    if compact is not None:
        out["Is its map more compact?"] = compact
    if faster is not None:
        out["Does it converge faster without the variance term?"] = faster
    return out


def _collapse(layer: LayerEvaluation) -> dict[str, float | None]:
    names = ("linear_sgd", "linear_sgd_standardised", "linear")
    numbers = {"std_mean": layer.health.std_mean, "rankme": layer.health.rankme}
    return numbers | {name: MEASURES[name].of(layer) for name in names}


def _which_collapse(layers: dict[str, tuple[LayerEvaluation, LayerEvaluation]]) -> str:
    """Which layers collapse, each with and without the term: the loss acts on the last one, those before may keep more."""
    collapsed: list[str] = []
    kept: list[str] = []
    for name, (with_term, without) in layers.items():
        a, b = with_term.health, without.health
        numbers = (
            f"'{name}' (mean std per dimension {b.std_mean:.2g} against {a.std_mean:.2g}, "
            f"RankMe {b.rankme:.1f} against {a.rankme:.1f})"
        )
        gone = b.std_mean < 0.1 * a.std_mean or b.rankme < 0.1 * a.rankme
        (collapsed if gone else kept).append(numbers)
    if not collapsed:
        return f"No: neither spread nor rank falls below a tenth of VICReg's on {', '.join(kept)}."
    rest = f" Not on {', '.join(kept)}." if kept else ""
    return f"Yes, on {', '.join(collapsed)}: spread or rank is below a tenth of VICReg's.{rest}"


def _compactness(a: LayerEvaluation, b: LayerEvaluation) -> Prediction | None:
    """How tight clusters are with (a) and without (b) the term, and whether they are the classes."""
    maps = [layer.maps.get("tsne") for layer in (a, b)]
    numbers = {
        "silhouette": [layer.clusters.silhouette for layer in (a, b)],
        "class_silhouette": [layer.clusters.class_silhouette for layer in (a, b)],
        "map_purity": [None if item is None else item.purity for item in maps],
    }
    known = {name: [value for value in pair if value is not None] for name, pair in numbers.items()}
    if any(len(pair) < 2 for pair in known.values()):
        return None
    tight, classes, purity = known.values()
    return Prediction(
        f"{'Yes' if tight[1] > tight[0] else 'No'}: its k-means clusters have silhouette {tight[1]:.3f}, with the term "
        f"{tight[0]:.3f}. Whether the clusters are the classes is another matter: class silhouette {classes[1]:.3f} against "
        f"{classes[0]:.3f}, t-SNE map purity {purity[1]:.3f} against {purity[0]:.3f}. A t-SNE picture hides "
        "scale, and compactness alone says nothing about quality.",
        known,
    )


def _convergence(full: RunResult, without: RunResult) -> Prediction | None:
    """Epochs until the training loss has made 95 % of its total fall, with and without variance."""
    epochs = {}
    for run in (full, without):
        losses = [loss for _, loss in run.curve]
        if len(losses) < 3 or losses[0] <= losses[-1]:
            return None
        target = losses[0] - 0.95 * (losses[0] - min(losses))
        epochs[run.method] = next(epoch for epoch, loss in run.curve if loss <= target)
    a, b = epochs["vicreg"], epochs["vicreg-novar"]
    return Prediction(
        f"{'Yes' if b < a else 'No'}: 95 % of the fall of its training loss is done after {b} epochs without the term, {a} with "
        "it. The two losses differ by a term, so this compares shapes of curves, not quality.",
        epochs,
    )
