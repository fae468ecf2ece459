"""What 'nearkin anomalies' prints and draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.anomalies.published import published_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearkin.data import ImageSet
    from nearkin.embeddings import Embeddings

_SHOWN, _PICTURES = 7, 28


def extremes(scores: NDArray[np.float64], embeddings: Embeddings) -> dict[str, Any]:
    """The most and least anomalous rows, and quantiles of the scores. JSON-able."""
    order = np.argsort(-scores, kind="stable")
    labels = embeddings.labels

    def row(i: int) -> dict[str, Any]:
        label = None if labels is None or labels[i] < 0 else embeddings.classes[labels[i]]
        return {
            "row": i,
            "id": str(embeddings.ids[i]),
            "split": str(embeddings.split[i]),
            "label": label,
            "score": float(scores[i]),
        }

    quantiles = (0, 0.05, 0.5, 0.95, 1)
    return {
        "quantiles": {str(q): float(np.quantile(scores, q)) for q in quantiles},
        "most": [row(int(i)) for i in order[:_PICTURES]],
        "least": [row(int(i)) for i in order[::-1][:_PICTURES]],
    }


def print_extremes(ranked: dict[str, Any]) -> None:
    """The 7 most and least anomalous images per score."""
    console = Console()
    for score, found in ranked.items():
        q = found["quantiles"]
        console.print(
            f"{score}: median {q['0.5']:.4g}, 95 % below {q['0.95']:.4g}, highest {q['1']:.4g}", highlight=False
        )
        for title in ("most", "least"):
            for item in found[title][:_SHOWN]:
                console.print(
                    escape(f"  {title:5s} {item['score']:10.4g}  {item['id']}  ({item['split']})"), highlight=False
                )


def print_against(found: dict[str, Any]) -> None:
    """AUROC and the other figures per set and score."""
    rows = [
        ("", score, name, item)
        for name, scores in found.items()
        for score, item in scores.items()
    ]  # fmt: skip
    _figures(rows)


def print_table(table: dict[str, Any]) -> None:
    """All methods and trivial scores per set, and the verdict."""
    console = Console()
    sets = {item["name"]: f"{item['name']} ({item['kind']})" for item in table["sets"] if item["kind"]}
    _figures([(row["title"], row["score"], sets.get(row["set"], row["set"]), row) for row in table["rows"]])
    for name, item in table["details"].items():
        for where, found in item.get("spread", {}).items():
            if found["variance_ratio"] is not None:
                text = (
                    f"{name}, {where}: variance {found['variance_ratio']:.2f} and mean length {found['norm_ratio']:.2f} of the "
                    "in-distribution test set's"
                )
                console.print(escape(text), highlight=False)
        for where, found in item.get("resembled", {}).items():
            text = (
                f"{name}, {where}: of {found['n'] * found['k']:,} neighbours in training, the 100 most frequent images are "
                f"{100 * found['top_share']:.0f} %, first {', '.join(found['ids'][:3])}"
            )
            console.print(escape(text), highlight=False)
        for where, scores in item["digits"].items():
            found = scores.get(table["primary"])
            if found:
                console.print(escape(f"{name}, {where}: {found['statement']}"), highlight=False)
    for text in table["verdict"]["text"]:
        console.print(escape(text), highlight=False)


def print_per_class(tables: dict[str, Any]) -> None:
    """One-class and held-out AUROC per class."""
    table = Table(title="AUROC per class", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    columns = [(key, score) for key in ("one_class", "near") for score in tables[key]]
    titles = {"one_class": "only normal", "near": "held out"}
    table.add_column("class")
    for key, score in columns:
        table.add_column(f"{titles[key]}, {score}", justify="right")
    groups = [tables[key][score] for key, score in columns]
    for k, row in enumerate(groups[0]["classes"]):
        table.add_row(escape(row["class"]), *(f"{group['classes'][k]['AUROC']:.4f}" for group in groups))
    table.add_row("mean", *(f"{group['mean']:.4f}" for group in groups))
    console = Console()
    console.print(table)
    text = published_means([row["class"] for row in groups[0]["classes"]])
    if text:
        console.print(escape(text), highlight=False)


def _figures(rows: list[tuple[str, str, str, dict[str, Any]]]) -> None:
    console = Console()
    for where in dict.fromkeys(row[2] for row in rows):
        table = Table(title=escape(f"against {where}"), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
        table.add_column(
            "method", overflow="fold"
        )  # 80 columns: words may be broken over lines, numbers must not be cut
        for column, least in (
            ("score", 11),
            ("AUROC", 6),
            ("95 %", 13),
            ("AUPR_IN", 7),
            ("AUPR_OUT", 8),
            ("FPR@95", 6),
        ):
            table.add_column(column, justify="left" if column == "score" else "right", no_wrap=True, min_width=least)
        for method, score, _, item in [row for row in rows if row[2] == where]:
            interval = f"{item['interval'][0]:.4f} {item['interval'][1]:.4f}" if item["interval"] else "-"
            rest = ["-" if item[name] is None else f"{item[name]:.4f}" for name in ("AUPR_IN", "AUPR_OUT", "FPR@95")]
            table.add_row(escape(method), score, f"{item['AUROC']:.4f}", interval, *rest)
        console.print(table)


def write_anomaly_sheet(
    path: Path, result: dict[str, Any], pictures: ImageSet, foreign: Mapping[str, ImageSet]
) -> None:
    """Thumbnails of the most and least anomalous images; foreign ones are framed where both stand together."""
    from nearkin.report.sheet import Cell, Row, Section, write_sheet

    sections = []
    for score, found in result["ranked"].items():
        rows = []
        for title in ("most", "least"):
            cells = [
                Cell(
                    pictures.images[item["row"]], f"{item['score']:.3g}", f"{item['id']} {item['label'] or ''}".strip()
                )
                for item in found[title]
            ]
            rows.append(Row(f"{title} anomalous", cells))
        sections.append(Section(f"All images of the embedding, score {score}", rows))
    where = {str(name): k for k, name in enumerate(pictures.ids)}
    for name, scores in result.get("ood", {}).items():
        rows = []
        for score, item in scores.items() if name in foreign else ():
            for title in ("most", "least"):
                cells = []
                for extreme in item[title]:
                    out = extreme["set"] == "out"
                    image = foreign[name].images[extreme["row"]] if out else pictures.images[where[extreme["id"]]]
                    cells.append(Cell(image, f"{extreme['score']:.3g}", extreme["id"], mark=out))
                rows.append(Row(f"{title} anomalous", cells, note=f"{score}, AUROC {item['AUROC']:.4f}"))
        if rows:
            sections.append(Section(f"Together with {name} (framed)", rows))
    text = "\n".join(result.get("table", {}).get("verdict", {}).get("text", []))
    write_sheet(path, "Anomalies", sections, text=text or "Higher score = less like the training images.")
