"""The questions that a study answers, as numbers with their spread and one plain paragraph each: one question per file.

Everything here is computed from the finished runs' evaluations; nothing is trained or embedded. A question whose runs are
missing has no answer, and is left out.
"""

from __future__ import annotations

from typing import Any

from nearkin.study.answers.ablations import ablations
from nearkin.study.answers.clusteredness import clusteredness
from nearkin.study.answers.codes import latent_codes
from nearkin.study.answers.collapse import collapse, convergence
from nearkin.study.answers.eigenmaps import eigenmaps
from nearkin.study.answers.losses import losses
from nearkin.study.answers.neighbours import neighbours
from nearkin.study.answers.two_by_two import two_by_two
from nearkin.study.answers.verdict import verdict

__all__ = ["answers", "collapse", "convergence", "verdict"]


def answers(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All questions that these runs can answer. JSON-able."""
    makers = (ablations, two_by_two, neighbours, latent_codes, clusteredness, eigenmaps, losses)
    return [found for make in makers if (found := make(runs)) is not None]
