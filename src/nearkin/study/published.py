"""Figures that belong to one study of one data set: what the reference study published of CIFAR-10, to stand beside ours."""

from __future__ import annotations

# Linear probes of VICReg, of VICReg without the variance term, and of NGN.
REFERENCE_STUDY = {"vicreg": 0.7242, "vicreg-novar": 0.1758, "ngn": 0.3491}


def reference_study(data: str) -> dict[str, float]:
    """Published accuracies by method, for images of that name; none but for "cifar10"."""
    return REFERENCE_STUDY if data == "cifar10" else {}
