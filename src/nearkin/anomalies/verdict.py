"""Was a good AUROC earned? Only against what needs no learning, where shortcuts are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

SMALL = 0.05  # a gain that the text calls little; it decides nothing
_UNDECIDED = "cannot be decided; it needs a set without shortcuts and labelled classes to hold out"
_NO_TRIVIAL = "cannot be said without the images' trivial scores (give the images)."
RULE = (
    "Earned means: on every set without shortcuts the method's AUROC interval lies above that of the best score that needs "
    "no learning, and on held-out classes its AUROC is higher by more than a paired t 95% interval over classes. The best "
    "trivial score is picked per set by its AUROC, in its favour."
)


@dataclass(frozen=True)
class Entry:
    """One run in the comparison: what :func:`judge_embeddings` found, and the run's probe accuracy in [0, 1] if known."""

    method: str
    seed: int
    found: dict[str, Any]
    title: str = ""
    accuracy: float | None = None

    @property
    def name(self) -> str:
        """Method and seed, e.g. "vicreg-s0"."""
        ending = f"-s{self.seed}"
        return self.method if self.method.endswith(ending) else self.method + ending


def verdict(
    entries: Sequence[Entry], trivial: dict[str, Any] | None, sets: Sequence[dict[str, Any]], primary: str
) -> dict[str, Any]:
    """Plain words and the numbers behind them. JSON-able.

    Returns:
        {"rule", "score", "best_trivial": set -> {"score", "AUROC", "interval"},
        "methods": [{"method", "title", "earned": True | False | None, "against": [{"set", "AUROC", "interval",
        "trivial_score", "trivial", "beats"}], "text"}], "text": [sentences]}. earned is None where it cannot be decided.
    """
    methods: dict[str, list[Entry]] = {}
    for entry in entries:
        if primary in next(iter(entry.found["ood"].values()), {primary: None}):
            methods.setdefault(entry.method, []).append(entry)
    best = {item["name"]: _best(trivial, item["name"]) for item in sets} if trivial is not None else {}
    judged = [_judge(group, trivial, best, sets, primary) for group in methods.values()]
    return {
        "rule": RULE,
        "score": primary,
        "best_trivial": best,
        "methods": judged,
        "text": _easy(judged, best, sets) + _said(judged, trivial is not None),
    }


def _best(trivial: dict[str, Any], where: str) -> dict[str, Any]:
    score, item = max(trivial["ood"][where].items(), key=lambda pair: float(pair[1]["AUROC"]))
    return {"score": score, "AUROC": item["AUROC"], "interval": item["interval"]}


def _judge(
    group: list[Entry],
    trivial: dict[str, Any] | None,
    best: dict[str, Any],
    sets: Sequence[dict[str, Any]],
    primary: str,
) -> dict[str, Any]:
    """One method: AUROC means over seeds, intervals the union of the seeds' (images and seeds both count)."""
    title = group[0].title or group[0].method
    against = []
    for item in sets:
        cells = [entry.found["ood"][item["name"]][primary] for entry in group]
        interval = [min(c["interval"][0] for c in cells), max(c["interval"][1] for c in cells)]
        row = {"set": item["name"], "shortcut_free": item["shortcut_free"], "interval": interval}
        row |= {"AUROC": float(np.mean([c["AUROC"] for c in cells]))}
        row |= {"trivial_score": None, "trivial": None, "beats": None}
        if trivial is not None:
            other = best[item["name"]]
            beats = interval[0] > other["interval"][1]
            row |= {"trivial_score": other["score"], "trivial": other["AUROC"], "beats": beats}
        against.append(row)
    near = _near(group, trivial, primary)
    if near is not None:
        against.append(near)
    deciding = [row for row in against if row["shortcut_free"]]
    enough = near is not None and len(deciding) > 1 and trivial is not None
    earned = all(row["beats"] for row in deciding) if enough else None
    return {
        "method": group[0].method,
        "title": title,
        "n_seeds": len(group),
        "earned": earned,
        "against": against,
        "text": _sentence(title, earned, deciding, trivial is not None),
    }


def _near(group: list[Entry], trivial: dict[str, Any] | None, primary: str) -> dict[str, Any] | None:
    """Held-out classes: mean AUROC, and the paired difference from the best trivial score over the classes."""
    if any(entry.found["near"] is None or primary not in entry.found["near"] for entry in group):
        return None
    own = np.mean([[c["AUROC"] for c in entry.found["near"][primary]["classes"]] for entry in group], axis=0)
    row: dict[str, Any] = {"set": "held-out class", "shortcut_free": True, "AUROC": float(own.mean()), "interval": None}
    row |= {"trivial_score": None, "trivial": None, "beats": None}
    if trivial is not None and trivial["near"]:
        score, item = max(trivial["near"].items(), key=lambda pair: float(pair[1]["mean"]))
        gap = own - np.array([c["AUROC"] for c in item["classes"]])
        half = float(stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)))
        low, high = float(gap.mean()) - half, float(gap.mean()) + half
        row |= {"trivial_score": score, "trivial": item["mean"], "beats": low > 0, "gap": [low, high]}
    return row


def _said(judged: Sequence[dict[str, Any]], has_trivial: bool) -> list[str]:
    """A sentence per method; where none can be decided, why not is said once, not with each."""
    if len(judged) < 2 or any(item["earned"] is not None for item in judged):
        return [item["text"] for item in judged]
    if not has_trivial:
        return [f"Whether these figures were earned {_NO_TRIVIAL}"]
    figures = [(item["title"], _figures([row for row in item["against"] if row["shortcut_free"]])) for item in judged]
    return [f"Whether these figures were earned {_UNDECIDED}."] + [
        f"{title}: {text}." for title, text in figures if text
    ]


def _sentence(title: str, earned: bool | None, deciding: list[dict[str, Any]], has_trivial: bool) -> str:
    if not has_trivial:
        return f"{title}: whether its figures were earned {_NO_TRIVIAL}"
    parts = _figures(deciding)
    if earned is None:
        return f"{title}: {_UNDECIDED}. {parts}".strip()
    gains = [row["AUROC"] - row["trivial"] for row in deciding if row["trivial"] is not None]
    little = f", by as little as {min(gains):.3f}" if earned and min(gains) < SMALL else ""
    return f"{title}: {'earned' if earned else 'not earned'}{little}. {parts}."


def _figures(rows: list[dict[str, Any]]) -> str:
    """Each set's AUROC beside the best trivial one."""
    return "; ".join(
        f"{row['set']} {row['AUROC']:.3f} against {row['trivial']:.3f} ({row['trivial_score']}) - "
        + ("above" if row["beats"] else "not above")
        for row in rows
        if row["trivial"] is not None
    )


def _easy(judged: list[dict[str, Any]], best: dict[str, Any], sets: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence per set with shortcuts: what the best method and the best trivial score have there."""
    out = []
    for item in sets:
        name = item["name"]
        if item["shortcut_free"] or name not in best or not judged:
            continue
        rows = [(method["title"], row) for method in judged for row in method["against"] if row["set"] == name]
        title, top = max(rows, key=lambda pair: float(pair[1]["AUROC"]))
        other = best[name]
        out.append(
            f"{name}: {title} reaches {top['AUROC']:.4f}; {other['score']}, which needs no learning, "
            f"{other['AUROC']:.4f}, so a high figure there proves nothing."
            if not top["beats"]
            else f"{name}: {title} reaches {top['AUROC']:.4f}, above {other['score']}, which needs no learning, with "
            f"{other['AUROC']:.4f}."
        )
    return out
