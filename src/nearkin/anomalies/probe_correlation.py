"""Does a better probe mean better anomaly detection?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

LEAST = 4  # with three methods even a perfect order has p = 1/3


def probe_predicts_auc(pairs: Sequence[tuple[float, float]], *, seed: int = 0) -> dict[str, Any]:
    """Spearman correlation of (probe accuracy, AUROC) over methods, one pair per method.

    Returns:
        {"n", "rho", "p", "statement"}; p two-sided by permutation (all of them up to 7 methods, else 9,999 random ones).
        rho and p are None below 4 pairs or when one side is constant.
    """
    n = len(pairs)
    x, y = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    if n < LEAST:
        return {
            "n": n,
            "rho": None,
            "p": None,
            "statement": f"{n} methods are too few to say; at least {LEAST} are needed.",
        }
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        which = "accuracy" if np.ptp(x) == 0 else "AUROC"
        return {"n": n, "rho": None, "p": None, "statement": f"the {which} is the same for all {n} methods."}
    a, b = (stats.zscore(stats.rankdata(values)) for values in (x, y))  # Spearman's rho is the mean of their products
    tested = stats.permutation_test(
        (a,),
        lambda values, axis: (values * b).mean(axis=axis),
        vectorized=True,
        permutation_type="pairings",
        n_resamples=9999,
        rng=np.random.default_rng(seed),
    )
    rho, p = float(tested.statistic), float(tested.pvalue)
    says = "goes with it" if rho > 0 else "goes against it"
    chance = f"p = {p:.2f}" if p >= 0.005 else "p < 0.01"
    text = f"over {n} methods the rank correlation is {rho:+.2f} ({chance}, permutations)".replace("-", "−")
    verdict = "probe accuracy says little about it" if p > 0.05 else f"probe accuracy {says}"
    return {"n": n, "rho": rho, "p": p, "statement": f"{text}: {verdict}."}
