"""Search results and hubs on the terminal and as sections of a picture sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.report.sheet import Cell, Row, Section
from nearkin.retrieval.hubs import Hubness, Listed
from nearkin.retrieval.occurrence import STRONG, Occurrence
from nearkin.retrieval.precision import Measured, Precision
from nearkin.retrieval.retrieval import Answer, Hit, Retrieval

_LISTED = 5  # hubs that are named on the terminal; a sheet shows all
Picture = NDArray[np.uint8]
_NAMES = {"cosine": "1 - cosine", "l2": "L2"}


def print_retrieval(found: Retrieval, how: str = "exactly") -> None:
    """Every query and what was found, and how it was searched."""
    console = Console(soft_wrap=True)
    console.print(
        f"{found.searched:,} images searched {how}, distances {_NAMES[found.metric]}", highlight=False, markup=False
    )
    for note in found.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    for answer in found.answers:
        console.print(_title(answer), highlight=False, markup=False)
        for kind, hits in (("nearest", answer.nearest), ("farthest", answer.farthest)):
            for hit in hits:
                line = f"  {kind:9s}{hit.distance:10.4g}  {hit.label or '-':12s} {hit.id}"
                console.print(line, highlight=False, markup=False)


def _title(answer: Answer) -> str:
    return answer.id if answer.label is None else f"{answer.id} ({answer.label})"


def print_precision(found: Precision | None) -> None:
    """Precision by class, with chance beside it."""
    console = Console()
    if found is None:
        console.print("no labels: precision cannot be measured", highlight=False)
        return
    table = Table(title=f"precision in % of {found.overall.n:,} queries", title_justify="left", box=SIMPLE_HEAD)
    for name in ("class", f"precision@{found.k}", f"mAP@{found.k}", "chance", "queries"):
        table.add_column(name, justify="left" if name == "class" else "right")

    def row(name: str, item: Measured) -> None:
        numbers = (f"{100 * item.precision:.1f}", f"{100 * item.map:.1f}", f"{100 * item.chance:.1f}", f"{item.n:,}")
        table.add_row(escape(name), *numbers)

    for name, item in found.per_class.items():
        row(name, item)
    row("all", found.overall)
    console.print(table)
    if found.precision_interval:
        low, high = found.precision_interval
        console.print(f"95 % interval of all, over queries: {100 * low:.1f} to {100 * high:.1f}", highlight=False)


def _distribution(found: Occurrence) -> str:
    """The distribution, in %."""
    return ", ".join(f"{100 * share:.1f}" for share in found.distribution) + " %"


def print_hubness(found: Hubness) -> None:
    """Hubs before and after, and the farthest images."""
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    near, far = found.nearest, found.farthest
    if found.note:
        say(f"note: {found.note}")
    say(
        f"{found.n:,} images, lists of the {found.k} nearest ({found.metric}): skewness {near.skewness:.2f} "
        f"({'' if near.skewness > STRONG else 'no '}strong hubs)"
    )
    say(
        f"{near.hubs:,} hubs take {100 * near.hub_slots:.1f} % of the places; {100 * near.antihubs:.1f} % of the images "
        "are in no list"
    )
    say(
        f"images in no list, in up to {found.k}/2, {found.k}, {2 * found.k}, {5 * found.k} lists, in more: {_distribution(near)}"
    )
    say(
        f"farthest {found.k}: 1 % of the images take {100 * far.top_slots:.1f} % of the places; {far.distinct:,} images "
        "ever appear"
    )
    for name, value in found.correlations.items():
        lists, place = name.split("/")
        shown = "-" if value is None else f"{value:+.2f}"
        say(
            f"{lists}, distance from the {place}: rank correlation with the count {shown}, mean percentile "
            f"{100 * found.percentiles[name]:.0f}"
        )
    for name, shares in found.composition.items():
        top = sorted(shares.items(), key=lambda item: -item[1])[:4]
        say(f"classes of {name}: " + ", ".join(f"{c} {100 * share:.0f} %" for c, share in top))
    for title, items in (("hub", found.hubs), ("farthest", found.farthest_images)):
        for listed in items[:_LISTED]:
            say(f"  {title:9s}in {listed.count:,} lists  {listed.label or '-':12s} {listed.id}")
    table = Table(title=f"remedies, on {found.candidates} candidates per image", title_justify="left", box=SIMPLE_HEAD)
    for name in ("remedy", "skewness", "anti-hubs %", f"precision@{found.k} %", f"mAP@{found.k} %"):
        table.add_column(name, justify="left" if name == "remedy" else "right")
    for name, item in found.remedies.items():
        judged = None if item.precision is None else item.precision.overall
        table.add_row(
            name,
            f"{item.nearest.skewness:.2f}",
            f"{100 * item.nearest.antihubs:.1f}",
            "-" if judged is None else f"{100 * judged.precision:.1f}",
            "-" if judged is None else f"{100 * judged.map:.1f}",
        )
    console.print(table)


def retrieval_sections(
    found: Retrieval, pictures: Mapping[str, Picture], own: Mapping[str, Picture], how: str = "exactly"
) -> list[Section]:
    """A row of the nearest and one of the farthest per query. ``pictures``: by id; ``own``: of queries given as files."""
    rows = []
    for answer in found.answers:
        query = pictures[answer.id] if answer.row is not None else own[answer.id]
        first = Cell(query, "query", answer.id, mark=True)
        title = answer.label or answer.id.rsplit("/", 1)[-1]
        for kind, hits in (("nearest", answer.nearest), ("farthest", answer.farthest)):
            if hits:
                rows.append(Row(title, [first, *_cells(hits, pictures)], kind))
    text = f"{found.searched:,} images searched {how}; below each its class and distance ({_NAMES[found.metric]})."
    return [Section("Nearest and farthest", rows, " ".join([text, *found.notes]))]


def _cells(hits: Sequence[Hit], pictures: Mapping[str, Picture]) -> list[Cell]:
    return [Cell(pictures[h.id], f"{h.label or ''} {h.distance:.3g}".strip(), h.id) for h in hits]


def hubness_sections(found: Hubness, pictures: Picture) -> list[Section]:
    """Hubs, anti-hubs and farthest images. ``pictures``: uint8 (N, 3, H, W), in the order of the embeddings."""

    def section(title: str, text: str, items: Sequence[Listed]) -> Section:
        cells = [
            Cell(pictures[item.row], f"{item.label or ''} {item.count}".strip(), f"{item.id}, {_place(item)}")
            for item in items
        ]
        return Section(title, [Row("", cells)] if cells else [], text if cells else "None.")

    n, k = found.n, found.k
    return [
        section("Hubs", f"In how many of {n:,} lists of the {k} nearest each stands; the mean is {k}.", found.hubs),
        section("Anti-hubs", "In no list; those farthest from the mean.", found.antihubs),
        section(
            "Farthest",
            f"In how many of {n:,} lists of the {k} farthest each stands. The top 1 % of images take "
            f"{100 * found.farthest.top_slots:.1f} % of the places.",
            found.farthest_images,
        ),
    ]


def _place(item: Listed) -> str:
    text = f"farther from the mean than {100 * item.percentile:.0f} % of the images"
    if item.pixel_percentile is not None:
        text += f", in pixels than {100 * item.pixel_percentile:.0f} %"
    return text
