"""Runs beside each other: differences of their numbers, and whether they are real. Reads embeddings, never a model."""

from nearkin.study.compare.differences import Comparison, Difference, Report, compare
from nearkin.study.compare.markdown import to_markdown
from nearkin.study.compare.sides import Side, load_sides

__all__ = ["Comparison", "Difference", "Report", "Side", "compare", "load_sides", "to_markdown"]
