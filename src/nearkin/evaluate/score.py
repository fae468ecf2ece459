"""An accuracy with everything needed to trust it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.evaluate.stats import WILSON, wilson


@dataclass(frozen=True)
class Score:
    """Accuracy on n test images, in [0, 1], with its interval, how it was obtained and what was chosen on val."""

    accuracy: float
    n: int
    interval: tuple[float, float]
    interval_kind: str
    protocol: str
    chosen: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what was chosen on validation ("C", "k", "val_accuracy") stands beside the accuracy."""
        out = asdict(self)
        out["interval"] = list(self.interval)
        out.update(out.pop("chosen"))
        return out


def score(predicted: NDArray[np.int64], labels: NDArray[np.int64], protocol: str, **chosen: float) -> Score:
    """Compare predictions with labels, both int64 (n,)."""
    hits = int((predicted == labels).sum())
    return Score(hits / len(labels), len(labels), wilson(hits, len(labels)), WILSON, protocol, chosen)
