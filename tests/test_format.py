"""Numbers as they are shown."""

from __future__ import annotations

from nearkin.format import three_digits


def test_numbers_of_a_thousand_and_more_are_whole() -> None:
    values = (0.0123456, 1.0, 63.24, 999.4, 999.6, 2328.97, -1234.5, 1e6)
    assert [three_digits(v) for v in values] == ["0.0123", "1", "63.2", "999", "1,000", "2,329", "-1,234", "1,000,000"]
    assert [three_digits(v, "+") for v in (0.5, -0.5, 1329)] == ["+0.5", "-0.5", "+1,329"]
