"""How numbers of any size are shown."""

from __future__ import annotations


def three_digits(value: float, sign: str = "") -> str:
    """0.0123, 12.3, 1,234: three digits that count, and whole numbers from 1,000 on. ``sign``: "+" to show that one, too."""
    return f"{value:{sign},.0f}" if abs(value) >= 999.5 else f"{value:{sign}.3g}"
