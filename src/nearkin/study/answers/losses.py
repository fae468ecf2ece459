"""How do the loss and its terms fall over training, on training and on test images?"""

from __future__ import annotations

from typing import Any

import numpy as np

from nearkin.evaluate.stats import t_interval
from nearkin.study.answers.common import Run

_TERMS = ("invariance", "variance", "covariance")


def losses(runs: list[Run]) -> dict[str, Any] | None:
    """Loss in the first and the last epoch, train beside test, per term, for VICReg and NGN."""
    told = [text for method in ("vicreg", "ngn") if (text := _method([r for r in runs if r["method"] == method]))]
    if not told:
        return None
    return {
        "question": "How do the loss and its terms fall, on training and on test images?",
        "statement": " ".join(told)
        + " The curves, over epochs and over training images seen, stand in the section Training.",
        "caveat": (
            "Training losses are an epoch's means with the batch's statistics, test losses one pass of the last weights in "
            "evaluation mode over at most 2,048 images: a gap is not all overfitting. Losses of two methods have no common scale."
        ),
    }


def _method(mine: list[Run]) -> str:
    """One method's sentence; empty without test losses."""
    mine = [run for run in mine if run.get("losses") and run["losses"]["test"]]
    if not mine:
        return ""

    def number(place: str, name: str) -> str:
        values = [float(run["losses"][place][name]) for run in mine]
        interval = t_interval(values)
        return f"{np.mean(values):.3g}" + ("" if interval is None else f" [{interval[0]:.3g}, {interval[1]:.3g}]")

    terms = "; ".join(
        f"{name} {number('train', name)} on train, {number('test', name)} on test"
        for name in _TERMS
        if all(name in run["losses"][place] for run in mine for place in ("train", "test"))
    )
    seeds = f"{len(mine)} seeds" if len(mine) > 1 else "one seed"
    return (
        f"{mine[0]['title']} ({seeds}): the loss falls from {number('first', 'loss')} in the first epoch to "
        f"{number('train', 'loss')} in the last; on test images it is {number('test', 'loss')}. Unweighted terms at the end: "
        f"{terms}."
    )
