"""Which runs a study consists of, and in which order. Imports no torch."""

from __future__ import annotations

from nearkin.methods import method_info


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
