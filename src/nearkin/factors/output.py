"""Factors on the terminal and as sections of a picture sheet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from nearkin.data import ImageSet
from nearkin.factors.factor_study import FactorStudy
from nearkin.factors.factor_summary import telling_rows
from nearkin.report.sheet import Cell, Row, Section


def print_factors(study: FactorStudy) -> None:
    """One line per factor, then the statement."""
    found, baseline, read = study.agreement, study.raw_pixels, study.probe
    by_baseline = {} if baseline is None else {row.factor: row.value for row in baseline.rows}
    by_reading = {} if read is None else {row.factor: row for row in read.rows}
    table = Table(
        title=f"{found.k} nearest of {found.n:,} images: 0 like random, 1 the same, ± half the 95 % interval",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column("factor", no_wrap=True)
    table.add_column("agreement", justify="right", no_wrap=True)
    table.add_column("given class", justify="right")
    if baseline is not None:
        table.add_column(f"pixels, {study.pixel_metric}", justify="right")
    if read is not None:
        table.add_column("linear", justify="right")
        table.add_column("kNN", justify="right")
    for row in found.rows:
        interval = "" if row.interval is None else f" ±{(row.interval[1] - row.interval[0]) / 2:.3f}"
        cells = [row.factor.replace("_", " "), _number(row.value) + interval, _number(row.given_class)]
        if baseline is not None:
            cells.append(_number(by_baseline.get(row.factor)))
        if read is not None:
            reading = by_reading.get(row.factor)
            cells += ["-", "-"] if reading is None else [_number(reading.linear), _number(reading.knn)]
        table.add_row(*cells)
    console = Console(soft_wrap=True)
    Console().print(table)
    if read is not None:
        text = (
            "linear, kNN: how well test images' factors can be read: R^2, for categories skill over the largest class."
        )
        console.print(text, highlight=False, markup=False)
    console.print(study.dominance.text, highlight=False, markup=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def factor_sections(study: FactorStudy, pictures: ImageSet) -> list[Section]:
    """Images that show the conflict of class and background, each before its neighbours.

    ``pictures``: of the rows whose neighbours were compared.
    """
    near, found = study.neighbors, study.agreement
    background, kind = telling_rows(found)

    def line(row: int) -> Row:
        cells = [_cell(pictures, row, mark=True)] + [_cell(pictures, int(j)) for j in near.indices[row]]
        return Row(_name(pictures, row), cells)

    def lines(rows: NDArray[np.int64]) -> list[Row]:
        return [line(int(row)) for row in rows]

    sections = []
    if len(background):
        text = "The framed image and its nearest neighbours, most of them of other classes, where backgrounds are most alike."
        sections.append(Section("Alike in background, not in class", lines(background), text))
    if len(kind):
        text = "The framed image and its nearest neighbours, most of its class, where backgrounds differ most."
        sections.append(Section("Alike in class, not in background", lines(kind), text))
    if not sections:
        sections.append(Section("Images and their neighbours", lines(np.arange(min(8, found.n)))))
    return sections


def _name(pictures: ImageSet, row: int) -> str:
    if pictures.labels is None or pictures.labels[row] < 0:
        return ""
    return pictures.classes[int(pictures.labels[row])]


def _cell(pictures: ImageSet, row: int, mark: bool = False) -> Cell:
    return Cell(pictures.images[row], _name(pictures, row), str(pictures.ids[row]), mark)
