"""Results as tables on the terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.errors import one_line
from nearkin.format import three_digits

if TYPE_CHECKING:
    from nearkin.evaluate.evaluation import LayerEvaluation


def _percent(cell: dict[str, Any] | None, interval: bool = False) -> str:
    if cell is None:
        return "-"
    text = f"{100 * cell['mean']:.2f}"
    if cell["interval"] and interval:
        text += f" ±{50 * (cell['interval'][1] - cell['interval'][0]):.1f}"
    return text


def _number(cell: dict[str, Any] | None) -> str:
    return "-" if cell is None else three_digits(cell["mean"])


def print_results(results: dict[str, Any]) -> None:
    """The study's table and verdict."""
    from nearkin.evaluate.evaluation import MEASURES

    console = Console()
    # 80 columns are what a plain terminal has.
    table = Table(
        title="test accuracy in %, ± half the 95 % interval", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1)
    )
    measures = ("linear", "linear_sgd", "knn", "rankme")
    columns = [MEASURES[name].column.removesuffix(" %") for name in measures]
    for column in ("method", "layer", *columns):
        words = column in ("method", "layer")  # words may be broken over lines, numbers must not be cut
        least = None if words else 12 if column == "linear" else 7
        table.add_column(
            column, justify="left" if words else "right", no_wrap=not words, overflow="fold", min_width=least
        )
    for row in results["table"]:
        table.add_row(
            escape(row["title"]),
            row["layer"],
            _percent(row["linear"], interval=True),
            _percent(row["linear_sgd"]),
            _percent(row["knn"]),
            _number(row["rankme"]),
        )
    console.print(table)
    if results["intervals"]:
        console.print(escape(results["intervals"]), highlight=False)
    for item in results["verdict"]:
        console.print({"good": "+", "warn": "!", "bad": "x"}[item["level"]], escape(item["text"]), highlight=False)


def print_evaluation(evaluation: LayerEvaluation) -> None:
    """One embedding's numbers."""
    from nearkin.evaluate.evaluation import PROBES

    console = Console()

    def tell(text: str) -> None:
        console.print(escape(text), highlight=False)

    for name in PROBES:
        if score := evaluation.probe(name):
            low, high = score.interval
            tell(
                f"{name:24s} {100 * score.accuracy:6.2f} %  [{100 * low:.2f}, {100 * high:.2f}] {score.interval_kind}, n = {score.n}"
            )
    if evaluation.linear is None:
        tell("note: no probes; they need labels of at least 2 classes in train, val and test")
    for name, value in (asdict(evaluation.health) | asdict(evaluation.clusters)).items():
        if value is not None:
            tell(f"{name:24s} {value:8.4g}")
    if evaluation.entanglement:
        tell(f"{'neighbour purity':24s} {evaluation.entanglement.purity:8.4f}")
        for pair in evaluation.entanglement.pairs:
            tell(f"{'entangled':24s} {pair.a} / {pair.b}: {pair.mixing:.3f}")
    for kind, item in evaluation.maps.items():
        tell(f"map {kind:20s} trustworthiness {item.trustworthiness}, preservation {item.preservation}")


def print_data(description: dict[str, Any]) -> None:
    """A data set's description."""
    console = Console()
    shape = " x ".join(str(n) for n in description["image_shape"])
    console.print(
        escape(f"{description['name']}: images {shape}, fingerprint {description['fingerprint']}"), highlight=False
    )
    for split, part in description["splits"].items():
        console.print(
            f"{split}: {part['images']:,} images, {part['exact_duplicates']} exact duplicates", highlight=False
        )
        if part["per_class"]:
            counts = ", ".join(f"{name} {n:,}" for name, n in list(part["per_class"].items())[:20])
            console.print(escape(f"  {counts}"), highlight=False)
    if not description["classes"]:
        console.print("no labels: probes and entanglement need some (--labels FILE)", highlight=False)
    if len(description["splits"]) > 1:
        console.print(
            f"in both splits: {description['exact_duplicates_across_splits']} exact duplicates", highlight=False
        )
    for note in description["notes"]:
        console.print(escape(one_line(f"note: {note}")), highlight=False)
    for item in description.get("left_out", ()):
        text = f"left out: {item['count']:,} {item['reason']}, e.g. {item['example']}"
        console.print(escape(one_line(text)), highlight=False)
    for item in description["skipped"]:
        console.print(escape(one_line(f"skipped {item['path']}: {item['reason']}")), highlight=False)
