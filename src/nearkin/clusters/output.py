"""Clusters on the terminal and as sections of a picture sheet."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.clusters.cluster_summary import Cluster
from nearkin.clusters.clusters import NO_STRUCTURE, Clustering
from nearkin.clusters.kmeans import ChosenK
from nearkin.data import ImageSet
from nearkin.report.sheet import Cell, Row, Section

_SHOWN_CLASSES = 3
_FLAT = 0.005  # silhouettes this close to the best one are called alike


def headline(found: Clustering) -> list[str]:
    """What was found, in sentences."""
    numbers = found.numbers
    text = [f"{found.n:,} images, {found.algorithm}, {found.metric}: {numbers.k} clusters."]
    if found.algorithm == "hdbscan":
        text.append(f"{100 * found.noise:.1f} % of the images are noise, in no cluster.")
        if numbers.k < 2:
            text.append("Fewer than 2 clusters: a smaller --min-size may find some, or there are none.")
    if found.chosen is not None:
        text.append(_choice(found.chosen))
    if numbers.silhouette is not None:
        weak = numbers.silhouette < NO_STRUCTURE
        text.append(
            f"Silhouette {numbers.silhouette:.3f}"
            + (f": below {NO_STRUCTURE}, no substantial structure (Kaufman and Rousseeuw 1990)." if weak else ".")
        )
    if numbers.nmi is not None and numbers.ari is not None and numbers.accuracy is not None:
        own = (
            ""
            if numbers.class_silhouette is None
            else f" The classes themselves have silhouette {numbers.class_silhouette:.3f}."
        )
        text.append(
            f"Against classes: NMI {numbers.nmi:.3f}, ARI {numbers.ari:.3f}, Hungarian accuracy "
            f"{100 * numbers.accuracy:.1f} %, purity {100 * (found.purity or 0):.1f} %.{own}"
        )
    return text


def _choice(chosen: ChosenK) -> str:
    scores = {k: value for k, value in chosen.silhouettes.items() if value is not None}
    if chosen.k not in scores:
        return f"No k has a silhouette; the smallest, {chosen.k}, was taken."
    alike = [str(k) for k, value in scores.items() if k != chosen.k and value > scores[chosen.k] - _FLAT]
    text = f"k = {chosen.k} has the largest silhouette ({scores[chosen.k]:.3f}) of k = {min(scores)} to {max(scores)}"
    return text + (f"; k = {', '.join(alike)} are as good, so the number is weakly supported." if alike else ".")


def print_clustering(found: Clustering) -> None:
    """The whole and every cluster."""
    console = Console(soft_wrap=True)
    for line in headline(found):
        console.print(line, highlight=False, markup=False)
    if not found.clusters:
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("cluster", "images", "margin", "classes", "most central"):
        table.add_column(name, justify="left" if name in ("classes", "most central") else "right")
    for item in found.clusters:
        margin = "-" if item.margin is None else f"{item.margin:.3f}"
        table.add_row(str(item.cluster), f"{item.size:,}", margin, escape(_classes(item)), escape(item.central_ids[0]))
    Console().print(table)


def _classes(item: Cluster) -> str:
    total = sum(item.composition.values())
    first = list(item.composition.items())[:_SHOWN_CLASSES]
    return ", ".join(f"{name} {100 * count / total:.0f} %" for name, count in first) or "-"


def cluster_sections(found: Clustering, pictures: ImageSet) -> list[Section]:
    """One section per cluster: central and borderline images. ``pictures``: the clustered images, in order."""

    def cells(rows: tuple[int, ...]) -> list[Cell]:
        return [Cell(pictures.images[row], _label(pictures, row), str(pictures.ids[row])) for row in rows]

    sections = []
    for item in found.clusters:
        share = f"{item.size:,} images, {100 * item.share:.1f} %"
        lines = [Row("central", cells(item.central), "nearest to the centre")]
        if item.borderline:
            lines.append(Row("borderline", cells(item.borderline), "between two centres"))
        text = "" if not item.composition else f"{_classes(item)}."
        sections.append(Section(f"Cluster {item.cluster}: {share}", lines, text))
    return sections


def _label(pictures: ImageSet, row: int) -> str:
    if pictures.labels is None or pictures.labels[row] < 0:
        return ""
    return pictures.classes[int(pictures.labels[row])]
