"""All methods and the trivial scores in one table, with the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.anomalies.baseline_detectors import TRIVIAL
from nearkin.anomalies.image_scores import inside_rows, train_rows
from nearkin.anomalies.judge import judge_embeddings, judge_trivial
from nearkin.anomalies.ood_sets import InSet, OodSet
from nearkin.anomalies.outlier_overlap import apart
from nearkin.anomalies.overlap import overlap
from nearkin.anomalies.probe_correlation import probe_predicts_auc
from nearkin.anomalies.published import NEAR_CAVEAT, ONE_CLASS_CAVEAT, PUBLISHED
from nearkin.anomalies.scores import SCORES
from nearkin.anomalies.verdict import Entry, verdict
from nearkin.data import ImageSet
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError
from nearkin.search.exact import Search, knn

PRIMARY = "knn-norm"  # fixed before any figure was seen
NEAR, ONE_CLASS = "held-out class", "one-class"
FAR = 0.9  # AUROC of the best score that needs no learning from which a foreign set is called far
_FIGURES = ("AUROC", "interval", "AUPR_IN", "AUPR_OUT", "FPR@95", "n_in", "n_out")


def compare(
    entries: Sequence[Entry],
    trivial: dict[str, Any] | None,
    sets: Sequence[OodSet] | Sequence[dict[str, Any]],
    *,
    primary: str = PRIMARY,
) -> dict[str, Any]:
    """The whole table. JSON-able.

    Args:
        trivial: what :func:`judge_trivial` found; None where there are no images (then nothing can be called earned).
        sets: the OOD sets, or their descriptions. primary: the score that the verdict reads, fixed beforehand.
    Returns:
        {"primary", "scores", "trivial_scores": name -> description,
        "sets": descriptions with "kind": "far" where a score that needs no learning reaches FAR, else "near"; None if unknown,
        "rows": [{"kind": "learned" | "trivial", "method", "title", "seed", "accuracy", "score", "set", "AUROC", "interval",
        "AUPR_IN", "AUPR_OUT", "FPR@95", "n_in", "n_out"}] (also for the sets "held-out class" and "one-class": mean AUROC),
        "overlap": of the most anomalous test images over runs and scores, and by what differs (belong.py), "probe": set -> correlation with probe accuracy,
        "verdict", "published", "caveats"}.
    """
    if not entries:
        raise ConfigError("nothing to compare: no embedding was judged.")
    described = [item.describe() if isinstance(item, OodSet) else item for item in sets]
    rows = [row for entry in entries for row in _rows(entry.found, "learned", entry)]
    if trivial is not None:
        rows += _rows(trivial, "trivial", None)
    used = list(dict.fromkeys(row["score"] for row in rows if row["kind"] == "learned"))
    tops = {f"{e.name} {score}": np.array(ids) for e in entries for score, ids in e.found["most_in"].items()}
    keys = [(e.method, e.seed, score) for e in entries for score in e.found["most_in"]]
    shared = overlap(tops, entries[0].found["n_test"]).to_dict()
    judged = verdict(entries, trivial, described, primary)
    return {
        "primary": primary,
        "scores": {name: SCORES[name] for name in used},
        "trivial_scores": dict(TRIVIAL) if trivial is not None else {},
        "sets": [item | {"kind": _kind(judged["best_trivial"].get(item["name"]))} for item in described],
        "rows": rows,
        "overlap": shared | apart(keys, shared),
        "probe": _probe(rows, primary),
        "verdict": judged,
        "published": PUBLISHED,
        "caveats": [NEAR_CAVEAT, ONE_CLASS_CAVEAT],
    }


def _kind(best: dict[str, Any] | None) -> str | None:
    """How hard a foreign set is, measured without any method: no set's name decides that."""
    return None if best is None else "far" if best["AUROC"] >= FAR else "near"


def anomaly_table(
    methods: Mapping[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]] | Mapping[str, NDArray[np.float32]]],
    inside: InSet,
    sets: Sequence[OodSet],
    *,
    accuracies: Mapping[str, float] | None = None,
    scores: Sequence[str] = tuple(SCORES),
    k: int | None = None,
    seed: int = 0,
    curves: bool = False,
    find: Search = knn,
) -> dict[str, Any]:
    """Everything at once, for a few methods (one seed each).

    Args:
        methods: name -> a function from images uint8 (N, 3, H, W) to vectors float32 (N, D), or the vectors themselves as
            {"train": ..., "test": ..., set name: ...}.
        accuracies: name -> probe accuracy in [0, 1]. find: as in :func:`judge_embeddings`.
    Returns:
        what :func:`compare` returns, and "details": name -> what :func:`judge_embeddings` found, "trivial" among them.
    """
    entries = []
    for name, given in methods.items():
        if callable(given):
            vectors = {"train": given(inside.train.images), "test": given(inside.test.images)}
            vectors |= {item.name: given(item.items.images) for item in sets}
        else:
            vectors = dict(given)
        missing = [part for part in ("train", "test") if part not in vectors]
        if missing:
            raise ConfigError(f"method '{name}': no vectors for {', '.join(missing)}.")
        found = judge_embeddings(
            vectors["train"],
            vectors["test"],
            vectors,
            inside,
            sets,
            scores=scores,
            k=k,
            seed=seed,
            curves=curves,
            find=find,
        )
        entries.append(Entry(name, seed, found, name, (accuracies or {}).get(name)))
    trivial = judge_trivial(inside, sets, seed=seed, curves=curves)
    primary = PRIMARY if PRIMARY in scores else scores[0]
    details = {entry.method: entry.found for entry in entries} | {"trivial": trivial}
    return compare(entries, trivial, sets, primary=primary) | {"details": details}


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
    find: Search = knn,
) -> dict[str, Any]:
    """:func:`anomaly_table` of one embedding with splits and its images, which are in the embedding's order."""
    mask = train_rows(embeddings, train_split)
    rows, _ = inside_rows(embeddings, train_split)
    parts = [images.take(np.flatnonzero(which)) for which in (mask, rows)]
    if embeddings.labels is not None:  # the file's own labels count, not those of the folder the images came from
        parts = [
            replace(part, labels=embeddings.labels[which], classes=embeddings.classes)
            for part, which in zip(parts, (mask, rows), strict=True)
        ]
    vectors = {"train": embeddings.Z[mask], "test": embeddings.Z[rows], **ood}
    return anomaly_table({name: vectors}, InSet(*parts), sets, scores=scores, k=k, seed=seed, curves=True, find=find)


def _rows(found: dict[str, Any], kind: str, entry: Entry | None) -> list[dict[str, Any]]:
    who: dict[str, Any] = {
        "kind": kind,
        "method": entry.method if entry else "trivial",
        "title": (entry.title or entry.method) if entry else "no learning",
        "seed": entry.seed if entry else None,
        "accuracy": entry.accuracy if entry else None,
    }
    out = []
    for where, scores in found["ood"].items():
        for score, item in scores.items():
            out.append(who | {"score": score, "set": where} | {name: item[name] for name in _FIGURES})
    for where, scores in ((NEAR, found["near"]), (ONE_CLASS, found["one_class"])):
        for score, item in (scores or {}).items():
            figures = dict.fromkeys(_FIGURES) | {"AUROC": item["mean"]}
            out.append(who | {"score": score, "set": where} | figures)
    return out


def _probe(rows: Sequence[dict[str, Any]], primary: str) -> dict[str, Any]:
    """Set -> correlation of probe accuracy and AUROC over methods (means over seeds)."""
    out = {}
    for where in dict.fromkeys(row["set"] for row in rows):
        pairs: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if (
                row["kind"] == "learned"
                and row["set"] == where
                and row["score"] == primary
                and row["accuracy"] is not None
            ):
                pairs.setdefault(row["method"], []).append((row["accuracy"], row["AUROC"]))
        means = [
            (float(np.mean([a for a, _ in group])), float(np.mean([b for _, b in group]))) for group in pairs.values()
        ]
        out[where] = probe_predicts_auc(means)
    return out
