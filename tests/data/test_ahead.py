"""map_ahead: order, bound, errors, an early end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nearkin.data.ahead import map_ahead


def test_order_and_bound() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for i in range(100):
            taken += 1
            yield i

    for done, found in enumerate(map_ahead(lambda i: i * i, items(), ahead=5)):
        assert found == done**2 and taken <= done + 5
    assert taken == 100


def test_an_error_comes_at_its_place_and_an_early_end_stops() -> None:
    work = map_ahead(lambda i: 1 // i, [2, 1, 0, 5], ahead=2)
    assert [next(work), next(work)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(work)
    early = map_ahead(lambda i: i, range(1000), ahead=10)
    assert next(early) == 0
    early.close()
