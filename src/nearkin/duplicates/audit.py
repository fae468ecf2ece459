"""Near-duplicates of a file of embeddings: within and across its splits, or in another file; what is said and written of them.

The work of ``nearkin duplicates``. It loads the images, calls :func:`nearkin.duplicates.find.near_duplicates` for each search,
and turns the results into lines, JSON, a table of pairs and a picture sheet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data.sources import images_of
from nearkin.duplicates.calibration import Calibration
from nearkin.duplicates.find import (
    DuplicatePairs,
    DuplicateSets,
    Embed,
    NearDuplicates,
    duplicate_sets,
    near_duplicates,
)
from nearkin.duplicates.lookalikes import Lookalikes, explain, lookalikes_far_apart
from nearkin.duplicates.registration import ORIENTATIONS
from nearkin.embeddings import Embeddings, rows_of
from nearkin.embeddings.table import add_columns
from nearkin.errors import ConfigError, DataError
from nearkin.evaluate.stats import WILSON, wilson
from nearkin.fileio import to_json, write_file
from nearkin.report.sheet import Row, Section, Thumbnail, write_sheet
from nearkin.search.exact import KnnSearch, knn

_SHOWN, _NAMED = 120, 10  # pairs in the picture sheet, and pairs named in the summary
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class AuditSettings:
    """The settings of an audit; the command's flags of the same names explain them.

    ``run`` is the folder of the run that made the embeddings: then distances are calibrated, too.
    """

    images: str | None = None
    run: Path | None = None
    split: str = "all"
    across: str | None = None
    against: Path | None = None
    against_images: str | None = None
    k: int = 5
    threshold: float | None = None
    precision: float = 0.95
    metric: str = "cosine"
    seed: int = 0
    device: str = "auto"
    turned: bool = True


@dataclass(frozen=True)
class SplitSearch:
    """One search.

    Attributes:
        title: what the report calls it. rows: int64, rows of the embeddings that were asked about. base_rows: rows that
            they were looked for in; None: themselves, or the other file.
    """

    title: str
    rows: NDArray[np.int64]
    base_rows: NDArray[np.int64] | None
    duplicates: NearDuplicates


@dataclass(frozen=True)
class DuplicateAudit:
    """All searches of one command.

    Attributes:
        images: of the embeddings; None: not verified. other, other_images: the file of ``against``.
        sets: of all pairs together; None with another file. lookalikes: with rows of the embeddings; None: not asked for.
    """

    settings: AuditSettings
    embeddings: Embeddings
    images: Pixels | None
    other: Embeddings | None
    other_images: Pixels | None
    searches: tuple[SplitSearch, ...]
    sets: DuplicateSets | None
    lookalikes: Lookalikes | None

    def partners(self, search: SplitSearch) -> tuple[Embeddings, Pixels | None, NDArray[np.int64]]:
        """Embeddings, images and rows of the second image of each pair."""
        if search.base_rows is None and self.other is not None:
            return self.other, self.other_images, search.duplicates.pairs.b
        rows = search.rows if search.base_rows is None else search.base_rows
        return self.embeddings, self.images, rows[search.duplicates.pairs.b]

    def explain_lookalikes(self) -> str:
        """A paragraph on the pairs that are alike in pixels and far apart in the embedding; "" where not asked for."""
        return "" if self.lookalikes is None else explain(self.lookalikes, self.embeddings.labels)

    def to_dict(self) -> dict[str, Any]:
        """Every number, JSON-able."""
        searches = {
            search.title: search.duplicates.to_dict()
            | {
                "interval": to_json(_share_with_duplicate(search)),
                "by_split": {title: to_json(share) for title, share in _by_split(self, search)},
            }
            for search in self.searches
        }
        sets = None if self.sets is None else self.sets.to_dict()
        out: dict[str, Any] = {"settings": to_json(self.settings), "searches": searches, "groups": sets}
        if self.lookalikes is not None:
            ids, value = self.embeddings.ids, self.lookalikes.to_dict()
            listed = [pair | {"a": str(ids[pair["a"]]), "b": str(ids[pair["b"]])} for pair in value["pairs"]]
            out["lookalikes"] = value | {"pairs": listed, "statement": self.explain_lookalikes()}
        return out


def audit(
    embeddings: Embeddings, settings: AuditSettings, *, lookalikes: int = 0, search: KnnSearch = knn
) -> DuplicateAudit:
    """Run the searches.

    Args:
        lookalikes: also list this many pairs that are alike in pixels and far apart in the embedding; needs images.
        search: what finds the candidates.
    Raises:
        ConfigError: settings that are not legal, or a run that did not make the embeddings. DataError: images or vectors
        that do not match.
    """
    parts = _parts(embeddings, settings)
    images = None
    if settings.images is not None:
        images = images_of(
            embeddings.ids, settings.images, size=embeddings.image_size, read=embeddings.provenance.get("read")
        ).images
    other, other_images = None, None
    if settings.against is not None:
        other = Embeddings.load(settings.against)
        if other.Z.shape[1] != embeddings.Z.shape[1]:
            raise DataError(
                f"--against {settings.against} has {other.Z.shape[1]} dimensions, the embeddings have {embeddings.Z.shape[1]}; "
                "both must come from the same run and layer."
            )
        if settings.against_images is not None:
            other_images = images_of(
                other.ids, settings.against_images, size=other.image_size, read=other.provenance.get("read")
            ).images
    searches = []
    for title, rows, base_rows in parts:
        base, base_images = (None, None) if other is None else (other.Z, other_images)
        if base_rows is not None:
            base, base_images = embeddings.Z[base_rows], None if images is None else images[base_rows]
        duplicates = near_duplicates(
            embeddings.Z[rows],
            None if images is None else images[rows],
            base=base,
            base_images=base_images,
            n_neighbors=settings.k,
            metric=settings.metric,
            threshold=settings.threshold,
            precision=settings.precision,
            embed=_embed_by(settings.run, embeddings.provenance.get("layer"), settings.device),
            turned=settings.turned,
            random_state=settings.seed,
            search=search,
        )
        searches.append(SplitSearch(title, rows, base_rows, duplicates))
    sets = None
    if other is None:
        pairs = _all_pairs(searches)
        sets = duplicate_sets(pairs, searches[0].duplicates, embeddings, images, metric=settings.metric)
    alike = None
    if lookalikes and images is not None:
        rows = np.unique(np.concatenate([item.rows for item in searches]))
        alike = lookalikes_far_apart(
            images[rows], embeddings.Z[rows], count=lookalikes, metric=settings.metric, seed=settings.seed
        )
        alike = replace(alike, a=rows[alike.a], b=rows[alike.b])
    return DuplicateAudit(settings, embeddings, images, other, other_images, tuple(searches), sets, alike)


def _parts(
    embeddings: Embeddings, settings: AuditSettings
) -> list[tuple[str, NDArray[np.int64], NDArray[np.int64] | None]]:
    """Title, rows asked about and rows searched in (None: the rows themselves, or the other file)."""
    if settings.across is None:
        rows = rows_of(embeddings.split, settings.split)
        if settings.against is not None:
            title = "images" if settings.split == "all" else settings.split
            return [(f"{title} in {settings.against.name}", rows, None)]
        return [(f"within {'all images' if settings.split == 'all' else settings.split}", rows, None)]
    names = settings.across.split(",")
    if len(names) != 2:
        raise ConfigError(f"--across {settings.across}: expected two splits, e.g. train,test or train+val,test.")
    sides = [np.unique(np.concatenate([rows_of(embeddings.split, part) for part in name.split("+")])) for name in names]
    if len(np.intersect1d(sides[0], sides[1])):
        raise ConfigError(f"--across {settings.across}: the two sides share images; name each split once.")
    return [(f"{names[1]} in {names[0]}", sides[1], sides[0]), (f"within {names[1]}", sides[1], None)]


def _embed_by(run: Path | None, layer: str | None, device: str) -> Embed | None:
    """The function that embeds the planted copies. Its name, which messages show, is the flag."""
    if run is None:
        return None
    from nearkin.runs.embed import embed_images  # imports torch

    def embed(images: Pixels) -> NDArray[np.float32]:
        return embed_images(run, images, layer, device)

    embed.__name__ = f"--run {run}"
    return embed


def _all_pairs(searches: list[SplitSearch]) -> DuplicatePairs:
    """The pairs of all searches, with rows of the embeddings."""
    parts = []
    for search in searches:
        pairs = search.duplicates.pairs
        base_rows = search.rows if search.base_rows is None else search.base_rows
        parts.append(replace(pairs, a=search.rows[pairs.a], b=base_rows[pairs.b]))
    return DuplicatePairs.concatenate(parts)


@dataclass(frozen=True)
class ImageShare:
    """``images`` of ``of`` images, and the interval of the share."""

    images: int
    of: int
    share: float
    low: float
    high: float
    interval: str = WILSON

    def __str__(self) -> str:
        return (
            f"{self.images:,} of {self.of:,} images have a near-duplicate, {100 * self.share:.2f} % "
            f"({100 * self.low:.2f} to {100 * self.high:.2f}, {self.interval})"
        )


def _share(count: int, n: int) -> ImageShare:
    low, high = wilson(count, n) if n else (0.0, 1.0)
    return ImageShare(count, n, count / n if n else 0.0, low, high)


def _share_with_duplicate(search: SplitSearch) -> ImageShare:
    return _share(len(search.duplicates.rows), search.duplicates.n_images)


def _by_split(result: DuplicateAudit, search: SplitSearch) -> Iterator[tuple[str, ImageShare]]:
    """For a search within several splits: how many images of each have a near-duplicate in each."""
    split = result.embeddings.split[search.rows]
    names = [str(name) for name in np.unique(split)]
    if len(names) == 1 or search.base_rows is not None:
        return
    pairs = search.duplicates.pairs
    one, two = np.concatenate([pairs.a, pairs.b]), np.concatenate([pairs.b, pairs.a])
    for first in names:
        for second in names:
            hits = one[(split[one] == first) & (split[two] == second)]
            yield f"{first} in {second}", _share(len(np.unique(hits)), int((split == first).sum()))


def summary(result: DuplicateAudit) -> Iterator[str]:
    """Lines on every search, and on the sets."""
    for search in result.searches:
        near = search.duplicates
        yield f"{search.title}: {_share_with_duplicate(search)}"
        exact = f", {int(near.pairs.exact.sum()):,} of them the same in every pixel" if near.verified else ""
        yield f"  {len(near.pairs):,} pairs of {near.n_candidates:,} candidates{exact}"
        if not near.verified:
            yield f"  unverified: distance at most {near.threshold:g}, no pixels compared (give --images)"
        elif near.calibration is None:
            yield "  nothing to calibrate on: only images that are the same in every pixel are reported"
        else:
            yield f"  {_how(near.calibration, near.threshold, 'where planted copies begin')}"
        if near.turned is not None and near.turned.calibration is not None:
            few = "where less than one mistake is expected"
            how = f", {_how(near.turned.calibration, near.turned.threshold, few)}" if near.turned.pairs else ""
            yield f"  turned or inverted: {near.turned.pairs:,} of the pairs{how}"
        for title, share in _by_split(result, search):
            yield f"  {title}: {share}"
        yield from _surest(result, search)
    if result.sets is not None:
        sets = result.sets.to_dict()
        for name in ("connected_components", "complete_linkage"):
            value = sets[name]
            yield (
                f"{name.replace('_', ' ')}: {value['groups']:,} groups of {value['images']:,} images, largest {value['largest']}"
            )
        if result.sets.not_split:
            yield f"note: {result.sets.not_split} components are too large for complete linkage and stay whole"


def _how(calibration: Calibration, threshold: float, otherwise: str) -> str:
    """The threshold, where it comes from (``otherwise``: not from precision), and how many planted copies it finds."""
    text = f"score at least {threshold:.3f}"
    if threshold != calibration.threshold:
        return text
    text += ", chosen "
    text += f"for precision {calibration.target:g}" if calibration.reached else otherwise
    if calibration.reached and calibration.evaluation.precision is not None:
        text += f" ({calibration.evaluation.precision:.2f} expected on the other half)"
    kinds = ", ".join(f"{name} {100 * value:.0f}" for name, value in calibration.evaluation.recall_by_kind.items())
    return f"{text}; recall of planted copies in %: {kinds}"


def _surest(result: DuplicateAudit, search: SplitSearch) -> Iterator[str]:
    """Name the pairs with the highest scores. --pairs and --html list all pairs."""
    pairs = search.duplicates.pairs
    other, _, b = result.partners(search)
    for i in range(min(_NAMED, len(pairs))):
        first, second = result.embeddings.ids[search.rows[pairs.a[i]]], other.ids[b[i]]
        sure = f"score {pairs.score[i]:.3f}" if search.duplicates.verified else f"distance {pairs.distance[i]:.3g}"
        yield f"  {'same pixels' if pairs.exact[i] else sure}  {first}  {second}"
    if len(pairs) > _NAMED:
        yield f"  and {len(pairs) - _NAMED:,} more pairs: --pairs FILE lists them, --html shows them"


def write_pairs(path: Path, result: DuplicateAudit) -> None:
    """All pairs as .csv or .parquet. Raises OutputError."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    tables = []
    for search in result.searches:
        pairs = search.duplicates.pairs
        other, _, b = result.partners(search)
        columns: dict[str, Any] = {"search": [search.title] * len(pairs)}
        for name, items, rows in (("a", result.embeddings, search.rows[pairs.a]), ("b", other, b)):
            columns |= {name: items.ids[rows].tolist(), f"split_{name}": items.split[rows].tolist()}
        strings = {name: pa.array(values, pa.string()) for name, values in columns.items()}
        verified = pa.array(np.full(len(pairs), search.duplicates.verified))
        tables.append(pa.table(strings | pairs.columns() | {"verified": verified}))
    table = pa.concat_tables(tables)
    write = pq.write_table if path.suffix == ".parquet" else pyarrow.csv.write_csv
    write_file(path, lambda handle: write(table, handle), "Choose another --pairs.")


def write_table(path: Path, result: DuplicateAudit) -> None:
    """Add near_duplicate_set (connected components) and near_duplicate_set_complete (complete linkage)."""
    if result.sets is None:
        # Against another file, an image's set is the image of that file that it resembles most.
        column = np.full(len(result.embeddings), -1, dtype=np.int64)
        pairs = result.searches[0].duplicates.pairs
        column[result.searches[0].rows[pairs.a][::-1]] = pairs.b[::-1]
        add_columns(path, result.embeddings, {"near_duplicate_set": column})
        return
    columns = {"near_duplicate_set": result.sets.component, "near_duplicate_set_complete": result.sets.complete}
    add_columns(path, result.embeddings, columns)


def write_html(path: Path, name: str, result: DuplicateAudit) -> None:
    """A sheet with pairs side by side; ``name`` stands in its title. Raises OutputError."""
    sections = [_pairs_section(result, search) for search in result.searches]
    if result.lookalikes is not None:
        sections.append(_lookalikes_section(result, result.lookalikes))
    write_sheet(path, f"Near-duplicates in {name}", sections)


def _pairs_section(result: DuplicateAudit, search: SplitSearch) -> Section:
    pairs = search.duplicates.pairs
    other, other_images, b = result.partners(search)
    shown = np.unique(np.linspace(0, len(pairs) - 1, min(_SHOWN, len(pairs))).astype(int))
    rows = []
    for i in shown:
        cells = [
            _cell(result.embeddings, result.images, int(search.rows[pairs.a[i]])),
            _cell(other, other_images, int(b[i])),
        ]
        note = f"distance {pairs.distance[i]:.3f}"
        if pairs.alignment is not None:
            orientation = f", {ORIENTATIONS[pairs.orientation[i]]}" if pairs.orientation[i] else ""
            note += f", detail {pairs.alignment.detail[i]:.2f}{orientation}"
        rows.append(Row("same pixels" if pairs.exact[i] else f"score {pairs.score[i]:.3f}", cells, note))
    threshold = search.duplicates.threshold
    text = f"{len(shown)} of {len(pairs):,} pairs, evenly spaced from the surest to the threshold {threshold:.3f}."
    return Section(search.title, rows, text)


def _lookalikes_section(result: DuplicateAudit, alike: Lookalikes) -> Section:
    rows = []
    for i in range(len(alike.a)):
        cells = [_cell(result.embeddings, result.images, int(row), name=False) for row in (alike.a[i], alike.b[i])]
        note = f"pixels {alike.pixels[i]:.2f}, distance {alike.distance[i]:.3f}"
        rows.append(Row(f"rank {alike.rank[i]:,} ({100 * alike.percentile[i]:.0f} %)", cells, note))
    return Section("Alike in pixels, far apart in the embedding", rows, result.explain_lookalikes())


def _cell(items: Embeddings, images: Pixels | None, row: int, *, name: bool = True) -> Thumbnail:
    """An image with its split and, unless ``name`` is False, its file name, by which a user finds a copy to remove."""
    assert images is not None  # a sheet requires images
    caption = str(items.split[row])
    if name:
        caption += f" {str(items.ids[row]).rsplit('/', 1)[-1]}"
    return Thumbnail(images[row], caption, str(items.ids[row]))
