"""Flags that several commands share, so that names and help texts are the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nearkin.data import ReadOptions


def complete_preset(incomplete: str) -> list[str]:
    """Presets that begin so, for the shell's completion."""
    from nearkin.study.presets import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def complete_method(incomplete: str) -> list[str]:
    """Methods that begin so; variants of them (NAME@...) are left out."""
    from nearkin.study.presets import METHOD_NAMES

    return [name for name in METHOD_NAMES if name.startswith(incomplete)]


def complete_device(incomplete: str) -> list[str]:
    """Devices that begin so."""
    return [name for name in ("auto", "cpu", "cuda") if name.startswith(incomplete)]


Data = Annotated[
    str,
    typer.Argument(
        help="A name (shapes, cifar10, cifar100, mnist, fashion-mnist, svhn, stl10) or a path: folder, .zip, .npz, .parquet, "
        "store; or shards: a .tar, a glob or URL of .tar or .parquet files, a .txt file that lists some."
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="CSV, Parquet or JSON with columns path, label and, optionally, split; or COCO's annotations."
    ),
]
ImageColumn = Annotated[str | None, typer.Option("--image-column", help="Column of the images in Parquet files.")]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label-column", help="Column of the labels in Parquet and label files; none: no labels."),
]
ValueRange = Annotated[
    str | None,
    typer.Option(
        "--value-range",
        metavar="LOW,HIGH",
        help="Values that are black and white in gray images deeper than 8 bits, and in arrays. Default: by the whole set.",
    ),
]
Size = Annotated[int | None, typer.Option("--size", help="Side in pixels that all images are brought to.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail at the first unreadable image instead of skipping it.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.", autocompletion=complete_device)]
Preset = Annotated[
    str, typer.Option("--preset", help="quick, cpu, hour, reference or full.", autocompletion=complete_preset)
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Subset = Annotated[
    int | None, typer.Option("--subset", help="Use only this many train images (a fixed, stratified choice).")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting, e.g. --set lr=1e-3. May be repeated.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Epochs of training.")]
TensorBoard = Annotated[
    bool,
    typer.Option("--tensorboard", help="Also write TensorBoard's event files; needs nearkin[tensorboard]."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


def read_options(image_column: str | None, label_column: str | None, value_range: str | None) -> ReadOptions:
    """How to read a set, from --image-column, --label-column and --value-range LOW,HIGH."""
    from nearkin.data import ReadOptions
    from nearkin.errors import ConfigError

    pair = None
    if value_range is not None:
        try:
            low, high = map(float, value_range.split(","))
        except ValueError as error:
            raise ConfigError(f"--value-range {value_range}: expected LOW,HIGH, e.g. --value-range 0,4095.") from error
        pair = low, high
    return ReadOptions(image_column, label_column, pair)


def overrides(pairs: list[str] | None, epochs: int | None) -> dict[str, object]:
    """Settings from --set NAME=VALUE and --epochs."""
    from nearkin.errors import ConfigError

    out: dict[str, object] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}: expected NAME=VALUE, e.g. --set lr=1e-3.")
        out[name.strip()] = value.strip()
    if epochs is not None:
        out["epochs"] = epochs
    return out


# Flags of the commands that use an embedding.
Vectors = Annotated[
    Path, typer.Argument(metavar="EMB", help="Embeddings: .parquet as nearkin writes them, .npy or .npz.")
]
Images = Annotated[
    str | None, typer.Option("--images", help="The images that the embeddings were made of: a name or a path.")
]
Split = Annotated[str, typer.Option("--split", help="Which rows: all, train, val or test.")]
Metric = Annotated[str, typer.Option("--metric", help="cosine or l2.")]
Index = Annotated[
    str,
    typer.Option(
        "--index",
        help="What finds neighbours: faiss (exact), faiss:KIND (e.g. faiss:HNSW32), ray (exact, over a Ray cluster), milvus (a temporary file), a path "
        "ending with .db, or http(s)://HOST:PORT of a Milvus server (its token in MILVUS_TOKEN).",
    ),
]
TableOut = Annotated[
    Path | None, typer.Option("-o", "--out", help="Parquet table, one row per image, to which columns are added.")
]
JsonOut = Annotated[Path | None, typer.Option("--json", help="JSON file for the numbers.")]
HtmlOut = Annotated[Path | None, typer.Option("--html", help="HTML picture sheet; needs --images.")]


def check_outputs(source: Path, *files: Path | None, table: Path | None = None, html: Path | None = None) -> None:
    """Refuse, before anything is computed, what could not be written, or would replace the embeddings."""
    from nearkin.errors import ConfigError
    from nearkin.fileio import claim_files

    if table is not None and table.suffix.lower() != ".parquet":
        raise ConfigError(f"-o {table}: the table is written as .parquet.")
    if html is not None and html.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{html}: a page is written as .html.")
    claim_files(*files, table, html, source=source)


def need_images(html: Path | None, images: str | None) -> None:
    """Refuse a picture sheet without pictures before anything is computed."""
    from nearkin.errors import ConfigError

    if html is not None and images is None:
        raise ConfigError("--html draws pictures and needs --images: the data the embeddings were made of.")
