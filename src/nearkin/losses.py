"""Losses for other people's training loops: functions of projections, without nets, views or optimisers.

from nearkin.losses import vicreg_loss
loss = vicreg_loss(net(view_a), net(view_b))
loss.backward()

Statistics are computed in float32 (float64 stays), whatever the surrounding autocast. A batch is the process's own: under
data parallelism, gather the projections (with gradients) before. The methods train with the same functions; the weights
are those of the papers.
"""

from nearkin.methods.barlow import barlow_terms, barlow_twins_loss
from nearkin.methods.byol import byol_loss
from nearkin.methods.lejepa import LeJEPATerms, lejepa_loss, lejepa_terms, sigreg
from nearkin.methods.simclr import nt_xent_loss
from nearkin.methods.simsiam import simsiam_loss
from nearkin.methods.vicreg import CONVENTIONS, VICRegTerms, vicreg_loss, vicreg_terms
from nearkin.methods.wmse import wmse_loss

__all__ = [
    "CONVENTIONS",
    "LeJEPATerms",
    "VICRegTerms",
    "barlow_terms",
    "barlow_twins_loss",
    "byol_loss",
    "lejepa_loss",
    "lejepa_terms",
    "nt_xent_loss",
    "sigreg",
    "simsiam_loss",
    "vicreg_loss",
    "vicreg_terms",
    "wmse_loss",
]
