"""What 'nearkin duplicates' prints and writes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from nearkin.duplicates.lookalikes import Lookalikes, explain
from nearkin.duplicates.search import Found, Request, Search
from nearkin.embeddings import Embeddings
from nearkin.embeddings.table import add_columns
from nearkin.evaluate.stats import WILSON, wilson
from nearkin.fileio import write_file
from nearkin.report.sheet import Cell, Row, Section
from nearkin.report.sheet import write_sheet as write_html

_SHOWN, _NAMED = 120, 10
Reverse = tuple[NDArray[np.int64], Lookalikes]


def share_of(count: int, n: int) -> dict[str, Any]:
    """A share with its interval, JSON-able."""
    low, high = wilson(count, n) if n else (0.0, 1.0)
    return {"images": count, "of": n, "share": count / n if n else 0.0, "low": low, "high": high, "interval": WILSON}


def by_split(search: Search, embeddings: Embeddings) -> dict[str, dict[str, Any]]:
    """For a search within several splits: how many images of each have a duplicate in each."""
    split = embeddings.split[search.asked]
    names = [str(name) for name in np.unique(split)]
    pairs = search.found.pairs
    ends = np.stack([np.concatenate([pairs.a, pairs.b]), np.concatenate([pairs.b, pairs.a])])
    out = {}
    for asked in names if len(names) > 1 and search.base is None else []:
        for other in names:
            hits = ends[0][(split[ends[0]] == asked) & (split[ends[1]] == other)]
            out[f"{asked} in {other}"] = share_of(len(np.unique(hits)), int((split == asked).sum()))
    return out


def print_found(found: Found) -> None:
    """Summary lines of every search, and of the groups."""
    for search in found.searches:
        result = search.found
        _print_share(search.title, share_of(len(result.rows()), result.n_queries))
        exact = f", {int(result.pairs.exact.sum()):,} of them the same in every pixel" if result.verified else ""
        typer.echo(f"  {len(result.pairs):,} pairs of {result.candidates:,} candidates{exact}")
        if not result.verified:
            typer.echo(f"  unverified: distance at most {result.threshold:g}, no pixels compared (give --images)")
        elif result.calibration is None:
            typer.echo("  nothing to calibrate on: only images that are the same in every pixel are reported")
        else:
            _print_calibration(result.calibration.to_dict(), result.threshold)
        for title, value in by_split(search, found.embeddings).items():
            _print_share(f"  {title}", value)
        _print_pairs(search, found)
    if found.groups is not None:
        numbers = found.groups.to_dict()
        for name in ("connected_components", "complete_linkage"):
            value = numbers[name]
            typer.echo(
                f"{name.replace('_', ' ')}: {value['groups']:,} groups of {value['images']:,} images, largest {value['largest']}"
            )
        if found.groups.not_split:
            typer.echo(f"note: {found.groups.not_split} components are too large for complete linkage and stay whole")


def _print_pairs(search: Search, found: Found) -> None:
    """The surest pairs by name; --pairs and --html have them all."""
    pairs = search.found.pairs
    other, _, b = found.partners(search)
    for i in range(min(_NAMED, len(pairs))):
        first, second = found.embeddings.ids[search.asked[pairs.a[i]]], other.ids[b[i]]
        sure = f"score {pairs.score[i]:.3f}" if search.found.verified else f"distance {pairs.distance[i]:.3g}"
        typer.echo(f"  {'same pixels' if pairs.exact[i] else sure}  {first}  {second}")
    if len(pairs) > _NAMED:
        typer.echo(f"  and {len(pairs) - _NAMED:,} more pairs: --pairs FILE lists them, --html shows them")


def _print_share(title: str, value: dict[str, Any]) -> None:
    typer.echo(
        f"{title}: {value['images']:,} of {value['of']:,} images have a near-duplicate, {100 * value['share']:.2f} % "
        f"({100 * value['low']:.2f} to {100 * value['high']:.2f}, {WILSON})"
    )


def _print_calibration(calibration: dict[str, Any], threshold: float) -> None:
    judged = calibration["evaluation"]
    kinds = ", ".join(f"{name} {100 * value:.0f}" for name, value in judged["recall_by_kind"].items())
    how = f"score at least {threshold:.3f}"
    if threshold == calibration["threshold"]:
        reached = f"for precision {calibration['target_precision']:g}"
        how += f", chosen {reached if calibration['target_reached'] else 'where planted copies begin'}"
        expected = judged["precision"]
        if calibration["target_reached"] and expected is not None:
            how += f" ({expected:.2f} expected on the other half)"
        how += f"; recall of planted copies in %: {kinds}"
    typer.echo(f"  {how}")


def print_reverse(parted: Reverse, embeddings: Embeddings) -> None:
    """Summary of pairs alike in pixels but far apart in the embedding."""
    typer.echo(f"alike in pixels: {_why(parted, embeddings)}")


def _why(parted: Reverse, embeddings: Embeddings) -> str:
    rows, value = parted
    return explain(value, None if embeddings.labels is None else embeddings.labels[rows])


def as_dict(found: Found, parted: Reverse | None, request: Request) -> dict[str, Any]:
    """Every number, JSON-able."""
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(request).items()}
    searches = {}
    for search in found.searches:
        share = share_of(len(search.found.rows()), search.found.n_queries)
        searches[search.title] = (
            search.found.to_dict() | {"interval": share} | {"by_split": by_split(search, found.embeddings)}
        )
    out: dict[str, Any] = {"settings": settings, "searches": searches}
    out["groups"] = None if found.groups is None else found.groups.to_dict()
    if parted is not None:
        rows, value = parted
        ids = found.embeddings.ids[rows]
        listed = [pair | {"a": str(ids[pair["a"]]), "b": str(ids[pair["b"]])} for pair in value.to_dict()["pairs"]]
        out["lookalikes"] = value.to_dict() | {"pairs": listed, "statement": _why(parted, found.embeddings)}
    return out


def write_pairs(path: Path, found: Found) -> None:
    """All pairs as .csv or .parquet. Raises OutputError."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    tables = []
    for search in found.searches:
        other, _, b = found.partners(search)
        a = search.asked[search.found.pairs.a]
        columns: dict[str, Any] = {"search": [search.title] * len(a)}
        for name, items, rows in (("a", found.embeddings, a), ("b", other, b)):
            columns |= {name: items.ids[rows].tolist(), f"split_{name}": items.split[rows].tolist()}
        strings = {name: pa.array(values, pa.string()) for name, values in columns.items()}
        verified = pa.array(np.full(len(a), search.found.verified))
        tables.append(pa.table(strings | search.found.pairs.columns() | {"verified": verified}))
    table = pa.concat_tables(tables)
    write = pq.write_table if path.suffix == ".parquet" else pyarrow.csv.write_csv
    write_file(path, lambda handle: write(table, handle), "Choose another --pairs.")


def write_table(path: Path, found: Found) -> None:
    """Add near_duplicate_set (connected components) and near_duplicate_set_complete (complete linkage)."""
    n = len(found.embeddings)
    if found.groups is None:
        # Against another file: an image's set is the image of that file which it is like best.
        column = np.full(n, -1, dtype=np.int64)
        search = found.searches[0]
        pairs = search.found.pairs
        column[search.asked[pairs.a][::-1]] = pairs.b[::-1]
        add_columns(path, found.embeddings, {"near_duplicate_set": column})
        return
    columns = {"near_duplicate_set": found.groups.component, "near_duplicate_set_complete": found.groups.complete}
    add_columns(path, found.embeddings, columns)


def _caption(items: Embeddings, row: int) -> str:
    """Split and file name: what to look for in order to remove a copy."""
    return f"{items.split[row]} {str(items.ids[row]).rsplit('/', 1)[-1]}"


def write_sheet(path: Path, name: str, found: Found, parted: Reverse | None) -> None:
    """Pairs side by side."""
    if found.pixels is None:
        return
    sections = []
    for search in found.searches:
        pairs = search.found.pairs
        other, pictures, b = found.partners(search)
        if pictures is None:
            continue
        shown = np.unique(np.linspace(0, len(pairs) - 1, min(_SHOWN, len(pairs))).astype(int))
        rows = []
        for i in shown:
            a = search.asked[pairs.a[i]]
            cells = [
                Cell(found.pixels[a], _caption(found.embeddings, int(a)), str(found.embeddings.ids[a])),
                Cell(pictures[b[i]], _caption(other, int(b[i])), str(other.ids[b[i]])),
            ]
            note = f"distance {pairs.distance[i]:.3f}"
            if pairs.alignment is not None:
                mirrored = ", mirrored" if pairs.alignment.flip[i] else ""
                note += f", detail {pairs.alignment.detail[i]:.2f}{mirrored}"
            rows.append(Row("same pixels" if pairs.exact[i] else f"score {pairs.score[i]:.3f}", cells, note))
        text = f"{len(shown)} of {len(pairs):,} pairs, evenly spaced from the surest to the threshold {search.found.threshold:.3f}."
        sections.append(Section(search.title, rows, text))
    if parted is not None:
        rows_of, value = parted
        listed = []
        for i in range(len(value.a)):
            ends = [rows_of[value.a[i]], rows_of[value.b[i]]]
            cells = [Cell(found.pixels[r], str(found.embeddings.split[r]), str(found.embeddings.ids[r])) for r in ends]
            note = f"pixels {value.pixels[i]:.2f}, distance {value.distance[i]:.3f}"
            listed.append(Row(f"rank {value.rank[i]:,} ({100 * value.percentile[i]:.0f} %)", cells, note))
        text = _why(parted, found.embeddings)
        sections.append(Section("Alike in pixels, far apart in the embedding", listed, text))
    write_html(path, f"Near-duplicates in {name}", sections)
