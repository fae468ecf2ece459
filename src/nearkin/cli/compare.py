"""nearkin compare: runs or studies beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN|STUDY...", help="Finished runs or studies; the first is the reference.")
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Markdown file to write.")] = None,
    as_json: options.JsonOut = None,
    quiet: options.Quiet = False,
) -> None:
    """Differences of the numbers that runs share, and whether they are more than chance.

    Paired over shared seeds where there are two or more, else over test images; corrected for the number of tests.
    """
    from nearkin.errors import ConfigError
    from nearkin.fileio import claim_files, to_json, write_json, write_text
    from nearkin.study.compare import compare as run
    from nearkin.study.compare import load_sides, print_comparison, to_markdown

    if out is not None and out.suffix.lower() not in (".md", ".txt"):
        raise ConfigError(f"-o {out}: the comparison is written as Markdown, into a .md file.")
    claim_files(out, as_json)

    def say(text: str) -> None:
        if not quiet:
            typer.echo(f"probing again: {text}", err=True)

    report = run(load_sides(runs), say=say)
    print_comparison(report)
    if out is not None:
        write_text(out, to_markdown(report))
        typer.echo(f"written: {out}")
    if as_json is not None:
        write_json(as_json, to_json(report))
        typer.echo(f"written: {as_json}")
