"""Which runs a study consists of, and in which order. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearkin.errors import DataError
from nearkin.methods import method_info

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def without_repeats(names: tuple[str, ...], settings: dict[str, Any]) -> tuple[str, ...]:
    """The methods, where a variant that has the very values which its method has under ``settings`` is that method, once."""

    def plain(name: str) -> str:
        base = method_info(name.partition("@")[0])
        has = {**settings, **base.overrides}
        own = method_info(name).overrides.items()
        return base.name if all(key in has and str(has[key]) == str(value) for key, value in own) else name

    return tuple(dict.fromkeys(map(plain, names)))


def allowed_by_labels(names: tuple[str, ...], labels: NDArray[np.int64] | None) -> tuple[str, ...]:
    """The methods that can train on images with these labels (-1: none): some read the label of every image.

    Raises:
        DataError: none of them can.
    """
    if labels is not None and (labels >= 0).all():
        return names
    kept = tuple(name for name in names if not method_info(name).uses_labels)
    if not kept:
        raise DataError(
            f"{', '.join(names)}: training needs a label for every training image. Give them with --labels."
        )
    return kept


def with_needs(names: tuple[str, ...]) -> tuple[str, ...]:
    """The methods in an order in which each follows the methods whose runs it reads; missing ones are added."""
    out: dict[str, None] = {}
    for name in names:
        for needed in method_info(name).needs:
            out.setdefault(needed)
        out.setdefault(name)
    return tuple(out)


def planned_runs(names: tuple[str, ...], seeds: tuple[int, ...]) -> list[tuple[str, int]]:
    """(method, seed) of every run of a study; a method whose result depends on no seed runs with the first one only."""
    methods = with_needs(names)
    return [(name, seed) for seed in seeds for name in methods if seed == seeds[0] or method_info(name).seeded]
