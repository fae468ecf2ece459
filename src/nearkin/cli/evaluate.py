"""nearkin evaluate: the whole protocol on an embedding file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def evaluate(
    embeddings: Annotated[Path, typer.Argument(help="Parquet with the columns id, label, split, embedding.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="JSON file to write.")] = None,
    seed: options.Seed = 0,
    maps: Annotated[bool, typer.Option("--maps/--no-maps", help="Also judge PCA and t-SNE maps.")] = False,
) -> None:
    """Probe an embedding honestly: chosen on val, test read once."""
    from nearkin.cli.tables import print_evaluation
    from nearkin.embeddings import Embeddings
    from nearkin.fileio import to_json, write_json
    from nearkin.study.protocol import evaluate as run

    options.check_outputs(embeddings, out)
    loaded, note = Embeddings.load(embeddings).with_splits(seed)
    if note:
        typer.echo(f"note: {note}")
    evaluation, _ = run(loaded, seed=seed, maps=maps)
    print_evaluation(evaluation)
    if out is not None:
        write_json(out, to_json(evaluation))
        typer.echo(f"written: {out}")
