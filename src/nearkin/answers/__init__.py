"""The questions that a study answers, as numbers with their spread and one plain paragraph each: one question per file.

Everything here is computed from the finished runs' evaluations; nothing is trained or embedded. A question whose runs are
missing has no answer, and is left out.
"""

from __future__ import annotations

from typing import Any

from nearkin.answers.ablations import ablations
from nearkin.answers.clusteredness import clusteredness
from nearkin.answers.codes import latent_codes
from nearkin.answers.collapse import collapse, convergence
from nearkin.answers.eigenmaps import eigenmaps
from nearkin.answers.losses import losses
from nearkin.answers.neighbours import neighbours
from nearkin.answers.two_by_two import two_by_two
from nearkin.answers.verdict import verdict

__all__ = ["answers", "collapse", "convergence", "verdict"]


def answers(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All questions that these runs can answer. JSON-able."""
    makers = (ablations, two_by_two, neighbours, latent_codes, clusteredness, eigenmaps, losses)
    return [found for make in makers if (found := make(runs)) is not None]
