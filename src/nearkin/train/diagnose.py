"""A run's health in words: collapsing, dimensionally collapsing, not learning, too short or healthy, and what to try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COLLAPSE_RATIO = 0.05  # std of the projections, relative to the variance term's target
RANK_SHARE = 0.05  # RankMe relative to the number of dimensions
# Steps after which the start has a weight of 0.9^50 = 0.5 % in BatchNorm's running statistics (momentum 0.1). Held-out
# projections use these statistics: earlier they are nearly equal whatever the net does.
SETTLED = 50
MIN_DROP = 0.01  # relative drop of the held-out loss since the first evaluation that counts as learning


def diagnose(history: Sequence[dict[str, Any]], steps: int) -> tuple[str, str]:
    """Judge the held-out "epoch" records of one run, oldest first.

    ``steps``: of the optimiser so far. Fields read: epoch, loss, projector_std (mean std per dimension of the projector's output, target 1), rankme, dim,
    knn (accuracy in [0, 1], where labels exist).

    Returns:
        (state, message) with state "collapsing", "dimensional collapse", "not learning", "too short" or "healthy".
    """
    last = history[-1]
    settled = [row for row in history if row["epoch"] * steps >= SETTLED * last["epoch"]]
    first = settled[0] if settled else last
    if last["projector_std"] < COLLAPSE_RATIO and steps < SETTLED:
        return "too short", (
            f"After {steps} steps, collapse cannot be told from a beginning: BatchNorm's running statistics are not settled. "
            "Try more epochs, or a smaller batch_size, for more steps."
        )
    if last["projector_std"] < COLLAPSE_RATIO:
        text = f"All projections are nearly the same vector: mean std per dimension {last['projector_std']:.2g}"
        if "variance" not in last:  # a method without VICReg's terms
            return "collapsing", f"{text}. Try a lower lr, a longer warm-up or a larger batch."
        return "collapsing", (
            f"{text}, target 1 (variance term {last['variance']:.2g}). "
            "Raise variance_weight, or lower invariance_weight or lr."
        )
    if last["rankme"] < max(2.0, RANK_SHARE * last["dim"]):
        text = f"The features fill about {last['rankme']:.1f} of {last['dim']} dimensions (RankMe)"
        if "covariance" not in last:
            return "dimensional collapse", f"{text}. Try a wider projector, a larger batch or a lower lr."
        return "dimensional collapse", (
            f"{text}, covariance term {last['covariance']:.2g}. Raise covariance_weight, widen the projector, or lower lr."
        )
    drop = (first["loss"] - last["loss"]) / max(abs(first["loss"]), 1e-12)
    judged = len(settled) >= 3
    stuck_loss = judged and drop < MIN_DROP
    knn, at_first = last.get("knn"), first.get("knn")
    stuck_knn = knn is not None and at_first is not None and judged and knn <= at_first
    if stuck_loss or stuck_knn:
        sign = (
            f"The held-out loss fell by only {100 * drop:.1f} % since the first evaluation"
            if stuck_loss
            else f"The kNN probe ({knn:.3f}) is no better than at the first evaluation ({at_first:.3f})"
        )
        if "invariance" in last and "invariance" in first:
            sign += f", invariance term {last['invariance']:.2g} after {first['invariance']:.2g}"
        return "not learning", f"{sign}. Try a higher lr, more epochs, or milder views."
    target = " of target 1" if "variance" in last else ""
    return "healthy", (
        f"Healthy: std {last['projector_std']:.2f}{target}, RankMe {last['rankme']:.0f} of {last['dim']}, "
        f"held-out loss down {100 * drop:.0f} % since the first evaluation."
    )
