"""The output of ``nearkin anomalies``: lines, tables, files and sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.anomalies.command import AnomalyReport, ScoreSummary
from nearkin.anomalies.ood_eval import ClassTables
from nearkin.anomalies.table import AnomalyTable, ScoreRow, Who, metrics_row
from nearkin.data import ImageSet
from nearkin.evaluate.published import published_means
from nearkin.report.sheet import Row, Section, Thumbnail, write_sheet

_SHOWN = 7
_UNNAMED: Who = ("learned", "", "", None, None)  # one embedding alone needs no name
_COLUMNS = (("score", 11), ("AUROC", 6), ("95 %", 13), ("AUPR_IN", 7), ("AUPR_OUT", 8), ("FPR@95", 6))


def print_report(report: AnomalyReport) -> None:
    """Everything that was found, as a person reads it."""
    for reason in (report.skipped or {}).values():
        _print(reason)
    if report.inside is None:
        _print_ranked(report.ranked or {})
    else:
        _print(report.inside)
        if report.table is not None:
            _print_table(report.table)
        else:
            by_set = (report.ood or {}).items()
            rows = [
                metrics_row(_UNNAMED, score, where, item) for where, scores in by_set for score, item in scores.items()
            ]
            _print_figures(rows)


def _print(text: str) -> None:
    Console().print(escape(text), highlight=False)


def _print_ranked(ranked: dict[str, ScoreSummary]) -> None:
    """The 7 most and least anomalous images per score."""
    for score, summary in ranked.items():
        q = summary.quantiles
        _print(f"{score}: median {q['0.5']:.4g}, 95 % below {q['0.95']:.4g}, highest {q['1']:.4g}")
        for title, images in (("most", summary.most), ("least", summary.least)):
            for image in images[:_SHOWN]:
                _print(f"  {title:5s} {image.score:10.4g}  {image.id}  ({image.split})")


def _print_table(table: AnomalyTable) -> None:
    """All methods and trivial scores per set, what explains them, and the verdict."""
    kinds = {item.name: f"{item.name} ({item.kind})" for item in table.sets if item.kind}
    _print_figures(table.rows, kinds)
    for name, evaluation in table.details.items():
        for where, spread in (evaluation.spread or {}).items():
            if spread.variance_ratio is not None:
                _print(
                    f"{name}, {where}: variance {spread.variance_ratio:.2f} and mean length {spread.norm_ratio:.2f} of the "
                    "in-distribution test set's"
                )
        for where, alike in (evaluation.resembled or {}).items():
            _print(
                f"{name}, {where}: of {alike.n * alike.k:,} neighbours in training, the 100 most frequent images are "
                f"{100 * alike.top_share:.0f} %, first {', '.join(alike.ids[:3])}"
            )
        for where, scores in evaluation.digits.items():
            if table.primary in scores:
                _print(f"{name}, {where}: {scores[table.primary].statement}")
    for text in table.verdict.text:
        _print(text)


def _print_figures(rows: Sequence[ScoreRow], titles: dict[str, str] | None = None) -> None:
    for where in dict.fromkeys(row.set for row in rows):
        title = f"against {(titles or {}).get(where, where)}"
        table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
        # 80 columns: words may be broken over lines, numbers must not be cut.
        table.add_column("method", overflow="fold")
        for column, least in _COLUMNS:
            table.add_column(column, justify="left" if column == "score" else "right", no_wrap=True, min_width=least)
        for row in rows:
            if row.set != where:
                continue
            interval = "-" if row.interval is None else f"{row.interval[0]:.4f} {row.interval[1]:.4f}"
            rest = ["-" if value is None else f"{value:.4f}" for value in (row.aupr_in, row.aupr_out, row.fpr95)]
            table.add_row(escape(row.title), row.score, f"{row.auroc:.4f}", interval, *rest)
        Console().print(table)


def print_classes(tables: ClassTables) -> None:
    """One-class and held-out AUROC per class."""
    table = Table(title="AUROC per class", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("class")
    columns = []
    for title, scores in (("only normal", tables.one_class), ("held out", tables.near)):
        for score, aurocs in scores.items():
            table.add_column(f"{title}, {score}", justify="right")
            columns.append(aurocs)
    names = [row.name for row in columns[0].classes]
    for k, name in enumerate(names):
        table.add_row(escape(name), *(f"{aurocs.classes[k].auroc.value:.4f}" for aurocs in columns))
    table.add_row("mean", *(f"{aurocs.mean:.4f}" for aurocs in columns))
    Console().print(table)
    text = published_means(names)
    if text:
        _print(text)


def write_anomaly_sheet(path: Path, report: AnomalyReport, pictures: ImageSet) -> None:
    """Thumbnails of the most and least anomalous images; foreign ones are framed where both stand together."""
    sections = []
    for score, summary in (report.ranked or {}).items():
        rows = []
        for title, images in (("most", summary.most), ("least", summary.least)):
            cells = [
                Thumbnail(pictures.images[item.row], f"{item.score:.3g}", f"{item.id} {item.label or ''}".strip())
                for item in images
            ]
            rows.append(Row(f"{title} anomalous", cells))
        sections.append(Section(f"All images of the embedding, score {score}", rows))
    where = {str(name): k for k, name in enumerate(pictures.ids)}
    for foreign in report.sets:
        rows = []
        for score, metrics in (report.ood or {})[foreign.name].items():
            for title, extremes in (("most", metrics.most), ("least", metrics.least)):
                cells = []
                for item in extremes:
                    out, name = item.set == "out", item.id or ""
                    image = foreign.items.images[item.row] if out else pictures.images[where[name]]
                    cells.append(Thumbnail(image, f"{item.score:.3g}", name, mark=out))
                note = f"{score}, AUROC {metrics.auroc.value:.4f}"
                rows.append(Row(f"{title} anomalous", cells, note=note))
        sections.append(Section(f"Together with {foreign.name} (framed)", rows))
    text = "\n".join(report.table.verdict.text if report.table else ())
    write_sheet(path, "Anomalies", sections, text=text or "Higher score = less like the training images.")
