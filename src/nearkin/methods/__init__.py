"""Methods by name: VICReg and its relatives, one file each. Importing this package imports no torch; ``create`` does."""

from nearkin.methods.base import FitContext, Method
from nearkin.methods.registry import (
    METHODS,
    MethodInfo,
    allowed_by_labels,
    create,
    default_settings,
    filled,
    is_seeded,
    known_settings,
    method_class,
    method_info,
    needed_runs,
    open_method,
    planned_runs,
    rank,
    reads_labels,
    with_needs,
    without_repeats,
)

__all__ = [
    "METHODS",
    "FitContext",
    "Method",
    "MethodInfo",
    "allowed_by_labels",
    "create",
    "default_settings",
    "filled",
    "is_seeded",
    "known_settings",
    "method_class",
    "method_info",
    "needed_runs",
    "open_method",
    "planned_runs",
    "rank",
    "reads_labels",
    "with_needs",
    "without_repeats",
]
